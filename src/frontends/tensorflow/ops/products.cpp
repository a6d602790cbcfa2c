// Products of matrices, and the biases that follow them.
#include "../kernel.h"
#include "anygpu/calls/matmul.h"
#include "anygpu/calls/reduce.h"

namespace anygpu::tensorflow_frontend {

namespace {

/// dst = lhs @ rhs, of one rank, batches repeated where they are 1.
void multiply(Call& c, const Array& dst, Array lhs, Array rhs) {
  if (dst.elements() == 0) return;
  c.record([=]() mutable {
    if (lhs.elements() == 0) return record(calls::fill(dst, Scalar::of(dst.dtype, 0)));
    Dims l = dst.sizes, r = dst.sizes;
    l[l.size() - 1] = lhs.sizes.back();
    r[r.size() - 2] = rhs.sizes[rhs.rank() - 2];
    record(calls::Matmul{.dst = dst, .lhs = lhs = common::expand(lhs, l), .rhs = rhs = common::expand(rhs, r)});
  });
}

Body matmul(const Node& node) {
  const bool transpose_a = node.attr<bool>("transpose_a"), transpose_b = node.attr<bool>("transpose_b");
  return [=](Call& c) {
    Array a = c.in(0), b = c.in(1);
    require(a.rank() == 2, "In[0] ndims must be == 2: ", a.rank());
    require(b.rank() == 2, "In[1] ndims must be == 2: ", b.rank());
    if (transpose_a) a = common::transpose(a, 0, 1);
    if (transpose_b) b = common::transpose(b, 0, 1);
    require(a.sizes[1] == b.sizes[0], "Matrix size-incompatible: In[0]: ", c.context.input(0).shape().DebugString(),
            ", In[1]: ", c.context.input(1).shape().DebugString());
    multiply(c, c.out(0, {a.sizes[0], b.sizes[1]}), a, b);
  };
}

Body batch_matmul(const Node& node) {
  const bool adj_x = node.attr<bool>("adj_x"), adj_y = node.attr<bool>("adj_y");
  return [=](Call& c) {
    Array a = c.in(0), b = c.in(1);
    require(a.rank() >= 2, "In[0] ndims must be >= 2: ", a.rank());
    require(b.rank() >= 2, "In[1] ndims must be >= 2: ", b.rank());
    if (adj_x) a = common::transpose(a, -1, -2);
    if (adj_y) b = common::transpose(b, -1, -2);
    require(a.sizes.back() == b.sizes[b.rank() - 2], "Matrix size-incompatible: In[0]: ", c.context.input(0).shape().DebugString(),
            ", In[1]: ", c.context.input(1).shape().DebugString());
    Dims batch_a = a.sizes, batch_b = b.sizes;
    for (int i = 0; i < 2; ++i) batch_a.pop_back(), batch_b.pop_back();
    Dims sizes = broadcast(batch_a, batch_b);
    sizes.push_back(a.sizes[a.rank() - 2]);
    sizes.push_back(b.sizes.back());
    multiply(c, c.out(0, sizes), a, b);
  };
}

/// Where the channels are.
int channel_axis(const Node& node) {
  return node.has("data_format") && node.attr<std::string>("data_format") == "NCHW" ? 1 : -1;
}

Body bias_add(const Node& node) {
  const int axis = channel_axis(node);
  return [axis](Call& c) {
    const Array x = c.in(0), bias = c.in(1);
    require(x.rank() >= 2, "Input tensor must be at least 2D: ", c.context.input(0).shape().DebugString());
    require(bias.rank() == 1, "Biases must be 1D: ", c.context.input(1).shape().DebugString());
    require(bias.sizes[0] == x.size(axis),
            "Must provide as many biases as the last dimension of the input tensor: ", c.context.input(1).shape().DebugString(), " vs. ",
            c.context.input(0).shape().DebugString());
    const Array y = c.out(0, x.sizes);
    if (y.elements() == 0) return;
    c.record([=] {
      const Array wide = common::along(bias, axis, x.sizes);
      record(calls::Pointwise(ANYGPU_OP("add"), x.dtype).out(y).in(x).in(wide));
    });
  };
}

Body bias_add_grad(const Node& node) {
  const int axis = channel_axis(node);
  return [axis](Call& c) {
    const Array dy = c.in(0);
    require(dy.rank() >= 2, "Input tensor must be at least 2D: ", c.context.input(0).shape().DebugString());
    const int channels = axis < 0 ? dy.rank() - 1 : axis;
    const uint64_t mask = ((uint64_t{1} << dy.rank()) - 1) & ~(uint64_t{1} << channels);
    const Array db = c.out(0, {dy.sizes[channels]});
    if (db.elements() == 0) return;
    c.record([=] {
      if (dy.elements() == 0) return record(calls::fill(db, Scalar::of(db.dtype, 0)));
      const View dst = calls::kept(db, dy.rank(), mask);
      record(calls::Reduce{.kind = calls::Reduction::Sum, .dst = dst, .src = dy, .compute = dy.dtype, .mask = mask});
    });
  };
}

}  // namespace

void register_products() {
  add("MatMul", {{"T", kFloats}}, matmul);
  add("BatchMatMul", {{"T", kFloats}}, batch_matmul);
  add("BatchMatMulV2", {{"T", kFloats}}, batch_matmul);
  add("BiasAdd", {{"T", kFloats}}, bias_add);
  add("BiasAddV1", {{"T", kFloats}}, bias_add);
  add("BiasAddGrad", {{"T", kFloats}}, bias_add_grad);
}

}  // namespace anygpu::tensorflow_frontend
