// Reductions and softmax.
#include <limits>

#include "../kernel.h"
#include "anygpu/calls/reduce.h"
#include "anygpu/calls/scan.h"
#include "anygpu/calls/softmax.h"

namespace anygpu::tensorflow_frontend {

namespace {

using calls::Reduction;

/// What a reduction of nothing is.
Scalar identity(Reduction kind, DType t) {
  constexpr double inf = std::numeric_limits<double>::infinity();
  const auto extreme = [&](bool high) {
    if (is_float(t)) return Scalar(high ? inf : -inf);
    const int bits = 8 * static_cast<int>(size_of(t));
    if (t == DType::U8) return Scalar(int64_t{high ? 255 : 0});
    const int64_t most = bits == 64 ? INT64_MAX : (int64_t{1} << (bits - 1)) - 1;
    return Scalar(high ? most : -most - 1);
  };
  switch (kind) {
    case Reduction::Max:
      return extreme(false);
    case Reduction::Min:
      return extreme(true);
    case Reduction::Mean:
      return Scalar::of(t, std::numeric_limits<double>::quiet_NaN());
    case Reduction::Prod:
    case Reduction::All:
      return Scalar::of(t, 1);
    default:
      return Scalar::of(t, 0);
  }
}

/// The axes of a list in host memory, as a mask.
uint64_t mask_of(const std::vector<int64_t>& axes, int rank) {
  uint64_t mask = 0;
  for (int64_t a : axes) mask |= uint64_t{1} << axis_within(a, rank);
  return mask;
}

Dims without(const Dims& sizes, uint64_t mask, bool keep) {
  Dims r;
  for (int d = 0; d < sizes.size(); ++d)
    if (!(mask >> d & 1))
      r.push_back(sizes[d]);
    else if (keep)
      r.push_back(1);
  return r;
}

std::function<Body(const Node&)> reduce(Reduction kind) {
  return [kind](const Node& node) {
    const bool keep = node.attr<bool>("keep_dims");
    return [=](Call& c) {
      const Array x = c.in(0);
      const uint64_t mask = mask_of(c.host_list(1), x.rank());
      if (mask == 0) return c.same(0, c.context.input(0), x.sizes);
      const Array y = c.out(0, without(x.sizes, mask, keep));
      if (y.elements() == 0) return;
      c.record([=] {
        if (x.elements() == 0) return record(calls::fill(y, identity(kind, y.dtype)));
        const View dst = calls::kept(y, x.rank(), mask);
        record(calls::Reduce{.kind = kind, .dst = dst, .src = x, .compute = x.dtype, .mask = mask});
      });
    };
  };
}

/// The place of an extremum along one axis.
std::function<Body(const Node&)> place(Reduction kind) {
  return [kind](const Node&) {
    return [=](Call& c) {
      const Array x = c.in(0);
      const int64_t given = c.host_int(1);
      require(given >= -x.rank() && given < x.rank(), "Expected dimension in the range [", -x.rank(), ", ", x.rank(), "), but got ", given);
      const int64_t axis = given < 0 ? given + x.rank() : given;
      require(x.sizes[static_cast<int>(axis)] > 0, "Reduction axis ", given, " is empty in shape ",
              c.context.input(0).shape().DebugString());
      const uint64_t mask = uint64_t{1} << axis;
      const Array y = c.out(0, without(x.sizes, mask, false));
      if (y.elements() == 0) return;
      c.record([=] {
        const Array places = y.dtype == DType::I64 ? y : common::make(x.device(), DType::I64, y.sizes);
        const View dst = calls::kept(places, x.rank(), mask);
        record(calls::Reduce{.kind = kind, .dst = dst, .src = x, .compute = x.dtype, .mask = mask});
        if (y.dtype != DType::I64) common::copy_to(y, places);
      });
    };
  };
}

std::function<Body(const Node&)> softmax(calls::SoftmaxKind kind) {
  return [kind](const Node&) {
    return [kind](Call& c) {
      const Array x = c.in(0);
      require(x.rank() >= 1, "logits must have >= 1 dimension, got ", c.context.input(0).shape().DebugString());
      const Array y = c.out(0, x.sizes);
      if (y.elements()) c.record([=] { record(calls::Softmax{.kind = kind, .dst = y, .src = x, .axis = x.rank() - 1}); });
    };
  };
}

/// exclusive: element i combines what is before it. reverse: from the end.
std::function<Body(const Node&)> scan(calls::Scanned kind) {
  return [kind](const Node& node) {
    const bool exclusive = node.attr<bool>("exclusive"), reverse = node.attr<bool>("reverse");
    return [=](Call& c) {
      const Array x = c.in(0), y = c.out(0, x.sizes);
      const int64_t given = c.host_int(1);
      require(given >= -x.rank() && given < x.rank(), "ScanOp: Expected scan axis in the range [", -x.rank(), ", ", x.rank(), "), but got ",
              given);
      const int axis = static_cast<int>(given < 0 ? given + x.rank() : given);
      if (y.elements() == 0) return;
      c.record([=] {
        Array from = x;
        if (reverse) record(calls::Flip{.dst = from = common::make_like(x), .src = x, .mask = uint64_t{1} << axis});
        Array to = reverse ? common::make_like(y) : y;
        const int64_t n = x.sizes[axis];
        if (exclusive) {
          const Array first = common::narrow(to, axis, 0, 1);
          record(calls::fill(first, Scalar::of(y.dtype, kind == calls::Scanned::Prod ? 1 : 0)));
          if (n > 1) {
            const Array dst = common::narrow(to, axis, 1, n - 1), src = common::narrow(from, axis, 0, n - 1);
            record(calls::Scan{.kind = kind, .dst = dst, .src = src, .compute = x.dtype, .axis = axis});
          }
        } else {
          record(calls::Scan{.kind = kind, .dst = to, .src = from, .compute = x.dtype, .axis = axis});
        }
        if (reverse) record(calls::Flip{.dst = y, .src = to, .mask = uint64_t{1} << axis});
      });
    };
  };
}

/// Losses [N] and their gradient by logits [N, C]: softmax less the labels.
Body softmax_cross_entropy(const Node&) {
  return [](Call& c) {
    const Array logits = c.in(0), labels = c.in(1);
    const Dims sizes = broadcast(logits.sizes, labels.sizes);
    require(sizes.size() == 2, "logits and labels must be either 2-dimensional, or broadcasted to be 2-dimensional");
    const Array loss = c.out(0, {sizes[0]}), grad = c.out(1, sizes);
    if (grad.elements() == 0) return;
    c.record([=] {
      const Array x = common::expand(logits, sizes), t = common::expand(labels, sizes);
      const Array logs = common::make(x.device(), x.dtype, sizes);
      record(calls::Softmax{.kind = calls::SoftmaxKind::Log, .dst = logs, .src = x, .axis = 1});
      const Array each = logs * t, sum = common::sum(each, 1);
      record(calls::Pointwise(ANYGPU_OP("neg"), x.dtype).out(loss).in(sum));
      const Array p = common::make(x.device(), x.dtype, sizes);
      record(calls::Pointwise(ANYGPU_OP("exp"), x.dtype).out(p).in(logs));
      record(calls::Pointwise(ANYGPU_OP("sub"), x.dtype).out(grad).in(p).in(t));
    });
  };
}

/// The same by class index. One out of range gives NaN, as TensorFlow's GPU does.
Body sparse_softmax_cross_entropy(const Node&) {
  return [](Call& c) {
    const Array x = c.in(0), label = c.in(1);
    require(x.rank() == 2, "logits must be 2-D, but got shape ", c.context.input(0).shape().DebugString());
    require(label.rank() == 1, "labels must be 1-D, but got shape ", c.context.input(1).shape().DebugString());
    require(x.sizes[0] == label.sizes[0], "logits and labels must have the same first dimension, got logits shape ",
            c.context.input(0).shape().DebugString(), " and labels shape ", c.context.input(1).shape().DebugString());
    const Array loss = c.out(0, {x.sizes[0]}), grad = c.out(1, x.sizes);
    if (grad.elements() == 0) return;
    c.record([=] {
      const int64_t classes = x.sizes[1];
      const Array logs = common::make_like(x);
      record(calls::Softmax{.kind = calls::SoftmaxKind::Log, .dst = logs, .src = x, .axis = 1});
      const Array wide = common::unsqueeze(label, 1);
      const Array number = common::cast(common::arange(x.device(), classes), label.dtype);
      const Array hit = common::equal(wide, common::along(number, 1, {1, classes}));
      const Array bad = common::either(common::less(wide, 0), common::at_least(wide, classes));
      const Array nan = common::where(bad, std::numeric_limits<double>::quiet_NaN(), 0.0, x.dtype);
      const Array taken = common::where(hit, logs, 0.0, x.dtype);
      const Array sum = common::sum(taken, 1), none = common::squeeze(nan, 1);
      record(calls::Pointwise(ANYGPU_OP("sub"), x.dtype).out(loss).in(none).in(sum));
      const Array p = common::make_like(x);
      record(calls::Pointwise(ANYGPU_OP("exp"), x.dtype).out(p).in(logs));
      const Array less = p - common::where(hit, 1.0, 0.0, x.dtype);
      record(calls::Pointwise(ANYGPU_OP("add"), x.dtype).out(grad).in(less).in(nan));
    });
  };
}

/// Half of the sum of squares.
Body l2_loss(const Node&) {
  return [](Call& c) {
    const Array x = c.in(0), y = c.out(0, {});
    c.record([=] {
      if (x.elements() == 0) return record(calls::fill(y, 0.0));
      const Array flat = common::flatten(x), squares = flat * flat, sum = common::sum(squares, 0);
      record(calls::Pointwise(ANYGPU_OP("mul"), x.dtype).out(y).in(sum).in(Scalar(0.5)));
    });
  };
}

}  // namespace

void register_reductions() {
  const struct {
    const char* name;
    Reduction kind;
    Types types;
  } reductions[] = {
      {"Sum", Reduction::Sum, kFloats + Types{tf::DT_INT64}},
      {"Mean", Reduction::Mean, kFloats},
      {"Prod", Reduction::Prod, kFloats + Types{tf::DT_INT64}},
      {"Max", Reduction::Max, kNumbers},
      {"Min", Reduction::Min, kNumbers},
  };
  for (const auto& r : reductions) add(r.name, {{"T", r.types}, {"Tidx", kIndex}}, {"reduction_indices"}, reduce(r.kind));
  add("All", {{"Tidx", kIndex}}, {"reduction_indices"}, reduce(Reduction::All));
  add("Any", {{"Tidx", kIndex}}, {"reduction_indices"}, reduce(Reduction::Any));
  add("ArgMax", {{"T", kValues + kInt32}, {"output_type", kIndex}}, {"dimension"}, place(Reduction::ArgMax));
  add("ArgMin", {{"T", kValues + kInt32}, {"output_type", kIndex}}, {"dimension"}, place(Reduction::ArgMin));
  add("Softmax", {{"T", kFloats}}, softmax(calls::SoftmaxKind::Plain));
  add("LogSoftmax", {{"T", kFloats}}, softmax(calls::SoftmaxKind::Log));
  add("Cumsum", {{"T", kNumbers + kInt32}}, {"axis"}, scan(calls::Scanned::Sum));
  add("Cumprod", {{"T", kNumbers + kInt32}}, {"axis"}, scan(calls::Scanned::Prod));
  add("SoftmaxCrossEntropyWithLogits", {{"T", kFloats}}, softmax_cross_entropy);
  add("SparseSoftmaxCrossEntropyWithLogits", {{"T", kFloats}, {"Tlabels", kIndex}}, sparse_softmax_cross_entropy);
  add("L2Loss", {{"T", kFloats}}, l2_loss);
}

}  // namespace anygpu::tensorflow_frontend
