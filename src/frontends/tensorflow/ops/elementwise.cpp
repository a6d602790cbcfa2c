// Functions of elements: tables of what TensorFlow calls them, what the catalogue does, and for which types.
#include "../kernel.h"
#include "anygpu/calls/parametric.h"

namespace anygpu::tensorflow_frontend {

namespace {

struct Elementwise {
  const char* tensorflow;
  const char* catalogue;
  Types types;
  enum class Order { Same, Swapped } order = Order::Same;  ///< of two operands
};

/// y = f(x), of x's type or bool.
void add_unary(const Elementwise& e) {
  const Op& entry = op(e.catalogue);
  add(e.tensorflow, {{"T", e.types}}, [&entry](const Node&) {
    return [&entry](Call& c) {
      const Array x = c.in(0), y = c.out(0, x.sizes);
      if (y.elements()) c.record([&entry, x, y] { record(calls::Pointwise(entry, x.dtype).out(y).in(x)); });
    };
  });
}

/// z = f(x, y), which broadcast.
void add_binary(const Elementwise& e) {
  const Op& entry = op(e.catalogue);
  const bool swapped = e.order == Elementwise::Order::Swapped;
  add(e.tensorflow, {{"T", e.types}}, [&entry, swapped](const Node&) {
    return [&entry, swapped](Call& c) {
      const Array x = c.in(swapped ? 1 : 0), y = c.in(swapped ? 0 : 1), z = c.out(0, broadcast(x.sizes, y.sizes));
      if (z.elements()) c.record([&entry, x, y, z] { record(calls::Pointwise(entry, x.dtype).out(z).in(x).in(y)); });
    };
  });
}

/// Logical operators have no T.
void add_logical(const char* name, const char* catalogue, int operands) {
  const Op& entry = op(catalogue);
  add(name, {}, [&entry, operands](const Node&) {
    return [&entry, operands](Call& c) {
      const Array x = c.in(0), y = c.in(operands - 1), z = c.out(0, broadcast(x.sizes, y.sizes));
      if (z.elements() == 0) return;
      c.record([&entry, operands, x, y, z] {
        calls::Pointwise call(entry, DType::Bool);
        call.out(z).in(x);
        if (operands == 2) call.in(y);
        record(call);
      });
    };
  });
}

/// What a cast from floats to integers does is the catalogue's; all else is exact.
Body cast(const Node& node) {
  const bool same = node.attr<tf::DataType>("SrcT") == node.attr<tf::DataType>("DstT");
  return [same](Call& c) {
    if (same) return c.same(0, c.context.input(0), c.sizes(0));
    const Array x = c.in(0), y = c.out(0, x.sizes);
    if (y.elements()) c.record([x, y] { common::copy_to(y, x); });
  };
}

Body leaky_relu(const Node& node) {
  const double slope = node.attr<float>("alpha");
  return [slope](Call& c) {
    const Array x = c.in(0), y = c.out(0, x.sizes);
    if (y.elements()) c.record([=] { record(calls::Pointwise(ANYGPU_OP("leaky_relu"), x.dtype).out(y).in(x).scalar(slope)); });
  };
}
Body leaky_relu_grad(const Node& node) {
  const double slope = node.attr<float>("alpha");
  return [slope](Call& c) {
    const Array dy = c.in(0), x = c.in(1), dx = c.out(0, x.sizes);
    require(dy.sizes == x.sizes, "Inputs to operation ", c.context.op_kernel().name(),
            " of type LeakyReluGrad must have the same size and shape.");
    if (dx.elements())
      c.record([=] { record(calls::Pointwise(ANYGPU_OP("leaky_relu_grad"), x.dtype).out(dx).in(x).in(dy).scalar(slope)); });
  };
}

/// Activations with numbers of their own: made for the type to compute in, given x, or dy and x (or y).
using Activation = calls::Pointwise (*)(DType);

void add_activation(const char* name, Activation make) {
  add(name, {{"T", kFloats}}, [make](const Node&) {
    return [make](Call& c) {
      const Array x = c.in(0), y = c.out(0, x.sizes);
      if (y.elements()) c.record([make, x, y] { record(make(x.dtype).out(y).in(x)); });
    };
  });
}
void add_activation_grad(const char* name, Activation make) {
  add(name, {{"T", kFloats}}, [make](const Node&) {
    return [make](Call& c) {
      const Array dy = c.in(0), x = c.in(1), dx = c.out(0, x.sizes);
      require(dy.sizes == x.sizes, "Inputs to operation ", c.context.op_kernel().name(), " must have the same size and shape.");
      if (dx.elements()) c.record([=] { record(make(x.dtype).out(dx).in(dy).in(x)); });
    };
  });
}

constexpr double kSeluScale = 1.0507009873554804934193349852946, kSeluAlpha = 1.6732632423543772848170429916717;
/// From here on softplus is its operand.
double softplus_threshold(DType t) {
  return t == DType::F64 ? 40 : 20;
}

void add_activations() {
  add_activation("Elu", [](DType t) { return calls::elu(t, 1, 1, 1); });
  add_activation("Selu", [](DType t) { return calls::elu(t, kSeluAlpha, kSeluScale, 1); });
  add_activation("Softplus", [](DType t) { return calls::softplus(t, 1, softplus_threshold(t)); });
  add_activation_grad("EluGrad", [](DType t) { return calls::elu_grad(t, 1, 1, 1, true); });
  add_activation_grad("SeluGrad", [](DType t) { return calls::elu_grad(t, kSeluAlpha, kSeluScale, 1, true); });
  add_activation_grad("SoftplusGrad", [](DType t) { return calls::softplus_grad(t, 1, softplus_threshold(t)); });
  add_activation_grad("Relu6Grad", [](DType t) { return calls::hardtanh_grad(t, 0.0, 6.0); });
  add("Relu6", {{"T", kFloats}}, [](const Node&) {
    return [](Call& c) {
      const Array x = c.in(0), y = c.out(0, x.sizes);
      if (y.elements())
        c.record([=] { record(calls::Pointwise(ANYGPU_OP("clamp"), x.dtype).out(y).in(x).in(Scalar(0.0)).in(Scalar(6.0))); });
    };
  });
}

Body fill(const Node&) {
  return [](Call& c) {
    const std::vector<int64_t> sizes = c.host_list(0);
    const Array value = c.in(1);
    require(value.rank() == 0, "value must represent a scalar, got shape ", c.context.input(1).shape().DebugString());
    const Array y = c.out(0, Dims(sizes.data(), static_cast<int>(sizes.size())));
    if (y.elements()) c.record([=] { common::copy_to(y, value); });
  };
}

Body like(double number) {
  return [number](Call& c) {
    const Array y = c.out(0, c.sizes(0));
    if (y.elements()) c.record([=] { record(calls::fill(y, Scalar::of(y.dtype, number))); });
  };
}

/// Condition, then, else: all broadcast.
Body select_broadcasting(const Node&) {
  return [](Call& c) {
    const Array condition = c.in(0), a = c.in(1), b = c.in(2), y = c.out(0, broadcast(broadcast(a.sizes, b.sizes), condition.sizes));
    if (y.elements()) c.record([=] { record(calls::Pointwise(ANYGPU_OP("where"), y.dtype).out(y).in(condition).in(a).in(b)); });
  };
}
/// The older one: the condition is a scalar, a vector that picks rows, or of the operands' shape.
Body select(const Node&) {
  return [](Call& c) {
    Array condition = c.in(0);
    const Array a = c.in(1), b = c.in(2), y = c.out(0, a.sizes);
    require(a.sizes == b.sizes, "'then' and 'else' must have the same size.  but received: ", c.context.input(1).shape().DebugString(),
            " vs. ", c.context.input(2).shape().DebugString());
    if (condition.rank() == 1 && a.rank() > 1) {
      require(condition.sizes[0] == a.sizes[0], "Number of batches of 'then' must match size of 'cond', but saw: ", a.sizes[0], " vs. ",
              condition.sizes[0]);
      condition = common::along(condition, 0, a.sizes);
    } else {
      require(condition.rank() == 0 || condition.sizes == a.sizes, "'cond' must be a scalar or of the shape of 'then'");
    }
    if (y.elements()) c.record([=] { record(calls::Pointwise(ANYGPU_OP("where"), y.dtype).out(y).in(condition).in(a).in(b)); });
  };
}

/// Also of the gradients that TensorFlow sums over the uses of a value.
Body add_n(const Node&) {
  return [](Call& c) {
    std::vector<Array> parts;
    for (int i = 0; i < c.inputs(); ++i) parts.push_back(c.in(i));
    for (const Array& p : parts) require(p.sizes == parts[0].sizes, "Inputs to operation AddN must have the same size and shape.");
    const Array y = c.out(0, parts[0].sizes);
    if (y.elements() == 0) return;
    c.record([=] {
      Array sum = parts[0];
      for (size_t i = 1; i + 1 < parts.size(); ++i) sum = sum + parts[i];
      if (parts.size() == 1) return common::copy_to(y, sum);
      record(calls::Pointwise(ANYGPU_OP("add"), y.dtype).out(y).in(sum).in(parts.back()));
    });
  };
}

}  // namespace

void register_elementwise() {
  using Order = Elementwise::Order;
  const Types signed_numbers = kFloats + Types{tf::DT_INT8, tf::DT_INT16, tf::DT_INT64};
  const Elementwise unary[] = {
      {"Abs", "abs", signed_numbers},
      {"Neg", "neg", signed_numbers},
      {"Sign", "sign_or_nan", signed_numbers},
      {"Square", "square", signed_numbers},
      {"Sqrt", "sqrt", kFloats},
      {"Rsqrt", "rsqrt", kFloats},
      {"Exp", "exp", kFloats},
      {"Expm1", "expm1", kFloats},
      {"Log", "log", kFloats},
      {"Log1p", "log1p", kFloats},
      {"Sin", "sin", kFloats},
      {"Cos", "cos", kFloats},
      {"Tan", "tan", kFloats},
      {"Asin", "asin", kFloats},
      {"Acos", "acos", kFloats},
      {"Atan", "atan", kFloats},
      {"Sinh", "sinh", kFloats},
      {"Cosh", "cosh", kFloats},
      {"Tanh", "tanh", kFloats},
      {"Asinh", "asinh", kFloats},
      {"Acosh", "acosh", kFloats},
      {"Atanh", "atanh", kFloats},
      {"Erf", "erf", kFloats},
      {"Erfc", "erfc", kFloats},
      {"Erfinv", "erfinv", kFloats},
      {"Ndtri", "ndtri", kFloats},
      {"Lgamma", "lgamma", kFloats},
      {"Digamma", "digamma", kFloats},
      {"Sigmoid", "sigmoid", kFloats},
      {"Relu", "relu", kNumbers + kInt32},
      {"Floor", "floor", kFloats},
      {"Ceil", "ceil", kFloats},
      {"Rint", "round", kFloats},
      {"Round", "round", kFloats},
      {"Reciprocal", "reciprocal", kFloats},
      {"Inv", "reciprocal", kFloats},
      {"IsFinite", "isfinite", kFloats},
      {"IsInf", "isinf", kFloats},
      {"IsNan", "isnan", kFloats},
      {"Invert", "bitwise_not", kInts + kInt32},
      {"Softsign", "softsign", kFloats},
  };
  for (const Elementwise& e : unary) add_unary(e);

  const Elementwise binary[] = {
      {"Add", "add", kNumbers},
      {"AddV2", "add", kNumbers},
      {"Sub", "sub", kNumbers},
      {"Mul", "mul", kNumbers},
      {"RealDiv", "div", kFloats},
      {"Div", "div", kFloats},
      {"FloorDiv", "div_floor", kNumbers},
      {"FloorMod", "remainder", kNumbers},
      {"TruncateDiv", "div_trunc", kInts + kInt32},
      {"TruncateMod", "fmod", kFloats + Types{tf::DT_INT64}},
      {"Mod", "fmod", kFloats + Types{tf::DT_INT64}},
      {"Maximum", "maximum", kNumbers},
      {"Minimum", "minimum", kNumbers},
      {"Pow", "pow", kFloats + Types{tf::DT_INT64}},
      {"Atan2", "atan2", kFloats},
      {"SquaredDifference", "mse", kFloats + Types{tf::DT_INT64}},
      {"Xlogy", "xlogy", kFloats},
      {"Xlog1py", "xlog1py", kFloats},
      {"Xdivy", "xdivy", kFloats},
      {"DivNoNan", "div_no_nan", kFloats},
      {"MulNoNan", "mul_no_nan", kFloats},
      {"Equal", "eq", kValues},
      {"NotEqual", "ne", kValues},
      {"Less", "lt", kNumbers},
      {"LessEqual", "le", kNumbers},
      {"Greater", "gt", kNumbers},
      {"GreaterEqual", "ge", kNumbers},
      {"BitwiseAnd", "bitwise_and", kInts + kInt32},
      {"BitwiseOr", "bitwise_or", kInts + kInt32},
      {"BitwiseXor", "bitwise_xor", kInts + kInt32},
      {"LeftShift", "shift_left", kInts + kInt32},
      {"RightShift", "shift_right", kInts + kInt32},
      // Gradients by the result (y, dy), or by the operand (dy, x).
      {"SigmoidGrad", "sigmoid_grad", kFloats, Order::Swapped},
      {"TanhGrad", "tanh_grad", kFloats, Order::Swapped},
      {"RsqrtGrad", "rsqrt_grad", kFloats, Order::Swapped},
      {"SqrtGrad", "sqrt_grad", kFloats, Order::Swapped},
      {"ReciprocalGrad", "reciprocal_grad", kFloats, Order::Swapped},
      {"InvGrad", "reciprocal_grad", kFloats, Order::Swapped},
      {"ReluGrad", "relu_grad", kFloats},
      {"SoftsignGrad", "softsign_grad", kFloats},
  };
  for (const Elementwise& e : binary) add_binary(e);

  add_activations();
  add_logical("LogicalAnd", "logical_and", 2);
  add_logical("LogicalOr", "logical_or", 2);
  add_logical("LogicalNot", "logical_not", 1);

  const Types castable = kValues + kInt32;
  add("Cast", {{"SrcT", castable}, {"DstT", castable}}, cast);
  add("LeakyRelu", {{"T", kFloats}}, leaky_relu);
  add("LeakyReluGrad", {{"T", kFloats}}, leaky_relu_grad);
  add("Fill", {{"T", kValues}, {"index_type", kIndex}}, {"dims"}, fill);
  add("ZerosLike", {{"T", kValues}}, [](const Node&) { return like(0); });
  add("OnesLike", {{"T", kValues}}, [](const Node&) { return like(1); });
  add("SelectV2", {{"T", kValues + kInt32}}, select_broadcasting);
  add("Select", {{"T", kValues + kInt32}}, select);
  add("AddN", {{"T", kNumbers}}, add_n);
}

}  // namespace anygpu::tensorflow_frontend
