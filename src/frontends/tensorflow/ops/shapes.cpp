// What moves elements: slices, joins, permutations, padding. All are copies from one view to another.
#include "../kernel.h"
#include "anygpu/calls/parametric.h"
#include "tensorflow/core/util/strided_slice_op.h"

namespace anygpu::tensorflow_frontend {

namespace {

Dims dims(const std::vector<int64_t>& list) {
  return Dims(list.data(), static_cast<int>(list.size()));
}

/// Copies, unless there is nothing to copy.
void copy(Call& c, const Array& dst, const Array& src) {
  if (dst.elements()) c.record([=] { common::copy_to(dst, src); });
}

Body transpose(const Node&) {
  return [](Call& c) {
    const Array x = c.in(0);
    const std::vector<int64_t> order = c.host_list(1);
    require(static_cast<int>(order.size()) == x.rank(), "transpose expects a vector of size ", x.rank(),
            ". But input(1) is a vector of size ", order.size());
    Array view = x;
    uint64_t seen = 0;
    for (size_t i = 0; i < order.size(); ++i) {
      const int64_t from = order[i] < 0 ? order[i] + x.rank() : order[i];
      require(from >= 0 && from < x.rank(), order[i], " is out of range [0 .. ", x.rank(), ")");
      require(!(seen >> from & 1), from, " is missing or twice in the permutation");
      seen |= uint64_t{1} << from;
      view.sizes[static_cast<int>(i)] = x.sizes[static_cast<int>(from)];
      view.strides[static_cast<int>(i)] = x.strides[static_cast<int>(from)];
    }
    copy(c, c.out(0, view.sizes), view);
  };
}

Body broadcast_to(const Node&) {
  return [](Call& c) {
    const Array x = c.in(0);
    const Dims sizes = dims(c.host_list(1));
    require(x.rank() <= sizes.size() && broadcast(x.sizes, sizes) == sizes,
            "Incompatible shapes: ", c.context.input(0).shape().DebugString(), " vs. ", shape_of(sizes).DebugString());
    copy(c, c.out(0, sizes), common::expand(x, sizes));
  };
}

Body tile(const Node&) {
  return [](Call& c) {
    const Array x = c.in(0);
    const std::vector<int64_t> times = c.host_list(1);
    require(static_cast<int>(times.size()) == x.rank(), "Expected multiples argument to be a vector of length ", x.rank(),
            " but got length ", times.size());
    // [a, b] as [1, a, 1, b] is repeated to [m, a, n, b].
    Dims sizes, apart, together;
    Array view = x;
    view.sizes.clear();
    view.strides.clear();
    for (int d = 0; d < x.rank(); ++d) {
      const int64_t m = times[static_cast<size_t>(d)];
      require(m >= 0, "Expected multiples[", d, "] >= 0, but got ", m);
      sizes.push_back(m * x.sizes[d]);
      if (m != 1) {
        view.sizes.push_back(m);
        view.strides.push_back(0);
      }
      view.sizes.push_back(x.sizes[d]);
      view.strides.push_back(x.strides[d]);
    }
    Array y = c.out(0, sizes);
    y.sizes = view.sizes;
    y.strides = contiguous_strides(view.sizes);
    copy(c, y, view);
  };
}

// ---- slices ----

Body slice(const Node&) {
  return [](Call& c) {
    const Array x = c.in(0);
    const std::vector<int64_t> begin = c.host_list(1), size = c.host_list(2);
    require(static_cast<int>(begin.size()) == x.rank() && begin.size() == size.size(),
            "Expected begin and size arguments to be 1-D tensors of size ", x.rank(), ", but got shapes ", c.host(1).shape().DebugString(),
            " and ", c.host(2).shape().DebugString(), " instead.");
    Array view = x;
    for (int d = 0; d < x.rank(); ++d) {
      const int64_t b = begin[static_cast<size_t>(d)],
                    n = size[static_cast<size_t>(d)] == -1 ? x.sizes[d] - b : size[static_cast<size_t>(d)];
      require(b >= 0 && b <= x.sizes[d], "Expected begin[", d, "] in [0, ", x.sizes[d], "], but got ", b);
      require(n >= 0 && b + n <= x.sizes[d], "Expected size[", d, "] in [0, ", x.sizes[d] - b, "], but got ", n);
      view = common::narrow(view, d, b, n);
    }
    copy(c, c.out(0, view.sizes), view);
  };
}

/// What a strided slice selects.
struct Selection {
  Dims sizes;        ///< of the operand's dimensions
  Dims final;        ///< of the result: some dropped, some added
  Dims begin, step;  ///< in the operand; steps may be negative
  uint64_t flipped = 0;

  /// Where the selected elements are, in the order of the operand, and of positive strides.
  Array of(const Array& x) const {
    Array view = x;
    for (int d = 0; d < x.rank(); ++d) {
      const int64_t first = flipped >> d & 1 ? begin[d] + (sizes[d] - 1) * step[d] : begin[d];
      if (sizes[d] > 0) view.offset += first * x.strides[d];
      view.sizes[d] = sizes[d];
      view.strides[d] = x.strides[d] * std::abs(step[d]);
    }
    return view;
  }
};

struct Masks {
  int32_t begin, end, ellipsis, new_axis, shrink_axis;
  explicit Masks(const Node& n)
      : begin(n.attr<int32_t>("begin_mask")),
        end(n.attr<int32_t>("end_mask")),
        ellipsis(n.attr<int32_t>("ellipsis_mask")),
        new_axis(n.attr<int32_t>("new_axis_mask")),
        shrink_axis(n.attr<int32_t>("shrink_axis_mask")) {}
};

/// `input`: where begin is among the operands; end and strides follow.
Selection selection(Call& c, const Masks& m, const tf::TensorShape& shape, int input) {
  tf::TensorShape processing, final;
  bool is_identity, is_simple, dim0;
  absl::InlinedVector<int64_t, 4UL> begin, end, strides;
  const absl::Status s = tf::ValidateStridedSliceOp(
      &c.host(input), &c.host(input + 1), c.host(input + 2), tf::PartialTensorShape(shape.dim_sizes()), m.begin, m.end, m.ellipsis,
      m.new_axis, m.shrink_axis, &processing, &final, &is_identity, &is_simple, &dim0, &begin, &end, &strides);
  if (!s.ok()) throw Refusal(s);
  Selection r{dims_of(processing), dims_of(final), {}, {}};
  for (size_t d = 0; d < begin.size(); ++d) {
    r.begin.push_back(begin[d]);
    r.step.push_back(strides[d]);
    if (strides[d] < 0) r.flipped |= uint64_t{1} << d;
  }
  return r;
}

Body strided_slice(const Node& node) {
  return [masks = Masks(node)](Call& c) {
    const Array x = c.in(0);
    const Selection s = selection(c, masks, c.context.input(0).shape(), 1);
    Array y = c.out(0, s.final);
    y.sizes = s.sizes;
    y.strides = contiguous_strides(s.sizes);
    if (y.elements() == 0) return;
    c.record([=] {
      const Array src = s.of(x);
      if (s.flipped)
        record(calls::Flip{.dst = y, .src = src, .mask = s.flipped});
      else
        common::copy_to(y, src);
    });
  };
}

/// Zeros, and the gradient where the slice was.
Body strided_slice_grad(const Node& node) {
  return [masks = Masks(node)](Call& c) {
    const Dims sizes = dims(c.host_list(0));
    const Selection s = selection(c, masks, shape_of(sizes), 1);
    Array dy = c.in(4);
    const Array dx = c.out(0, sizes);
    require(dy.elements() == product(s.sizes), "shape of dy was ", c.context.input(4).shape().DebugString(), " instead of ",
            shape_of(s.final).DebugString());
    dy.sizes = s.sizes;
    dy.strides = contiguous_strides(s.sizes);
    if (dx.elements() == 0) return;
    c.record([=] {
      record(calls::fill(dx, Scalar::of(dx.dtype, 0)));
      if (dy.elements() == 0) return;
      const Array dst = s.of(dx);
      if (s.flipped)
        record(calls::Flip{.dst = dst, .src = dy, .mask = s.flipped});
      else
        common::copy_to(dst, dy);
    });
  };
}

// ---- joins and splits ----

void join(Call& c, const std::vector<Array>& parts, int axis, const Array& y) {
  if (y.elements() == 0) return;
  c.record([=] {
    std::vector<ViewArg> full;
    for (const Array& p : parts)
      if (p.elements()) full.emplace_back(p);
    record(calls::Cat{.dst = y, .parts = full, .dim = axis});
  });
}

/// ConcatV2 has its axis last, Concat first.
std::function<Body(const Node&)> concat(bool axis_last) {
  return [axis_last](const Node&) {
    return [axis_last](Call& c) {
      const int n = c.inputs() - 1, first = axis_last ? 0 : 1;
      std::vector<Array> parts;
      for (int i = 0; i < n; ++i) parts.push_back(c.in(first + i));
      const int rank = parts[0].rank();
      const int64_t given = c.host_int(axis_last ? n : 0);
      require(given >= -rank && given < rank, "ConcatOp : Expected concatenating dimensions in the range [", -rank, ", ", rank,
              "), but got ", given);
      const int axis = static_cast<int>(given < 0 ? given + rank : given);
      Dims sizes = parts[0].sizes;
      sizes[axis] = 0;
      for (int i = 0; i < n; ++i) {
        const Array& p = parts[static_cast<size_t>(i)];
        bool fits = p.rank() == rank;
        for (int d = 0; fits && d < rank; ++d) fits = d == axis || p.sizes[d] == parts[0].sizes[d];
        require(fits, "ConcatOp : Dimension ", axis, " in both shapes must be equal: shape[0] = ", shape_of(parts[0].sizes).DebugString(),
                " vs. shape[", i, "] = ", shape_of(p.sizes).DebugString());
        sizes[axis] += p.sizes[axis];
      }
      join(c, parts, axis, c.out(0, sizes));
    };
  };
}

Body pack(const Node& node) {
  const int given = node.attr<int32_t>("axis");
  return [given](Call& c) {
    std::vector<Array> parts;
    const int rank = c.context.input(0).dims() + 1;
    require(given >= -rank && given < rank, "axis = ", given, " not in [", -rank, ", ", rank, ")");
    const int axis = given < 0 ? given + rank : given;
    for (int i = 0; i < c.inputs(); ++i) {
      require(c.context.input(i).shape() == c.context.input(0).shape(),
              "Shapes of all inputs must match: values[0].shape = ", c.context.input(0).shape().DebugString(), " != values[", i,
              "].shape = ", c.context.input(i).shape().DebugString());
      parts.push_back(common::unsqueeze(c.in(i), axis));
    }
    Dims sizes = parts[0].sizes;
    sizes[axis] = c.inputs();
    join(c, parts, axis, c.out(0, sizes));
  };
}

/// Parts along an axis, given their sizes there.
void split_into(Call& c, const Array& x, int axis, const std::vector<int64_t>& lengths, bool squeezed) {
  int64_t at = 0;
  std::vector<std::pair<Array, Array>> parts;
  for (size_t i = 0; i < lengths.size(); ++i) {
    Array part = common::narrow(x, axis, at, lengths[i]);
    at += lengths[i];
    if (squeezed) part = common::squeeze(part, axis);
    const Array y = c.out(static_cast<int>(i), part.sizes);
    if (y.elements()) parts.emplace_back(y, part);
  }
  if (parts.empty()) return;
  c.record([=] {
    for (const auto& [y, part] : parts) common::copy_to(y, part);
  });
}

int split_axis(int64_t given, int rank) {
  require(given >= -rank && given < rank, "-input rank(-", rank, ") <= split_dim < input rank (", rank, "), but got ", given);
  return static_cast<int>(given < 0 ? given + rank : given);
}

Body split(const Node& node) {
  const auto n = node.attr<int32_t>("num_split");
  return [n](Call& c) {
    const Array x = c.in(1);
    const int axis = split_axis(c.host_int(0), x.rank());
    require(n > 0 && x.sizes[axis] % n == 0, "Number of ways to split should evenly divide the split dimension, but got split_dim ", axis,
            " (size = ", x.sizes[axis], ") and num_split ", n);
    split_into(c, x, axis, std::vector<int64_t>(static_cast<size_t>(n), x.sizes[axis] / n), false);
  };
}

Body split_v(const Node&) {
  return [](Call& c) {
    const Array x = c.in(0);
    std::vector<int64_t> lengths = c.host_list(1);
    const int axis = split_axis(c.host_int(2), x.rank());
    int64_t known = 0;
    for (int64_t n : lengths) known += n == -1 ? 0 : n;
    for (int64_t& n : lengths)
      if (n == -1) n = x.sizes[axis] - known;
    int64_t sum = 0;
    for (int64_t n : lengths) sum += n;
    require(sum == x.sizes[axis],
            "Determined shape must either match input shape along split_dim exactly if fully specified, or be less than the size of "
            "the input along split_dim if not fully specified.  Got: ",
            sum);
    split_into(c, x, axis, lengths, false);
  };
}

Body unpack(const Node& node) {
  const int given = node.attr<int32_t>("axis"), n = node.attr<int32_t>("num");
  return [=](Call& c) {
    const Array x = c.in(0);
    require(given >= -x.rank() && given < x.rank(), "axis = ", given, " not in [", -x.rank(), ", ", x.rank(), ")");
    const int axis = given < 0 ? given + x.rank() : given;
    require(x.sizes[axis] == n, "Input shape axis ", axis, " must equal ", n, ", got shape ", c.context.input(0).shape().DebugString());
    split_into(c, x, axis, std::vector<int64_t>(static_cast<size_t>(n), 1), true);
  };
}

// ---- padding, reversal, bits, ranges ----

/// Zeros around, or the third operand.
Body pad(const Node&) {
  return [](Call& c) {
    const Array x = c.in(0);
    const std::vector<int64_t> paddings = c.host_list(1);
    require(static_cast<int>(paddings.size()) == 2 * x.rank(), "The first dimension of paddings must be the rank of inputs",
            c.host(1).shape().DebugString(), " ", c.context.input(0).shape().DebugString());
    const Array value = c.inputs() > 2 ? c.in(2) : Array();
    Dims sizes, before;
    for (int d = 0; d < x.rank(); ++d) {
      const int64_t b = paddings[static_cast<size_t>(2 * d)], a = paddings[static_cast<size_t>(2 * d + 1)];
      require(b >= 0 && a >= 0, "Paddings must be non-negative: ", b, " ", a);
      before.push_back(b);
      sizes.push_back(b + x.sizes[d] + a);
    }
    const Array y = c.out(0, sizes);
    if (y.elements() == 0) return;
    c.record([=] {
      if (value)
        common::copy_to(y, value);
      else
        record(calls::fill(y, Scalar::of(y.dtype, 0)));
      Array inner = y;
      for (int d = 0; d < x.rank(); ++d) inner = common::narrow(inner, d, before[d], x.sizes[d]);
      common::copy_to(inner, x);
    });
  };
}

Body reverse(const Node&) {
  return [](Call& c) {
    const Array x = c.in(0), y = c.out(0, x.sizes);
    uint64_t mask = 0;
    for (int64_t given : c.host_list(1)) {
      require(given >= -x.rank() && given < x.rank(), "'axis'[0] = ", given, " is out of valid range [", 0, ", ", x.rank() - 1);
      const int64_t axis = given < 0 ? given + x.rank() : given;
      require(!(mask >> axis & 1), "axis ", axis, " specified more than once.");
      mask |= uint64_t{1} << axis;
    }
    if (y.elements() == 0) return;
    c.record([=] {
      if (mask)
        record(calls::Flip{.dst = y, .src = x, .mask = mask});
      else
        common::copy_to(y, x);
    });
  };
}

/// The same bytes: a last dimension is split or joined where elements are of another width.
Body bitcast(const Node& node) {
  const auto from = node.attr<tf::DataType>("T"), to = node.attr<tf::DataType>("type");
  return [=](Call& c) {
    const int64_t old_size = tf::DataTypeSize(from), new_size = tf::DataTypeSize(to);
    tf::TensorShape shape = c.context.input(0).shape();
    if (new_size < old_size) {
      shape.AddDim(old_size / new_size);
    } else if (new_size > old_size) {
      require(shape.dims() > 0 && shape.dim_size(shape.dims() - 1) == new_size / old_size, "Cannot bitcast from ", tf::DataTypeString(from),
              " to ", tf::DataTypeString(to), ": shape ", shape.DebugString());
      shape.RemoveDim(shape.dims() - 1);
    }
    tf::Tensor t;
    if (absl::Status s = t.BitcastFrom(c.context.input(0), to, shape); !s.ok()) throw Refusal(s);
    c.context.set_output(0, t);
  };
}

Body range(const Node& node) {
  const auto type = node.attr<tf::DataType>("Tidx");
  return [type](Call& c) {
    const auto number = [&](int i) -> double {
      const tf::Tensor& t = c.host(i);
      return type == tf::DT_FLOAT    ? t.scalar<float>()()
             : type == tf::DT_DOUBLE ? t.scalar<double>()()
                                     : static_cast<double>(t.scalar<int64_t>()());
    };
    const double start = number(0), limit = number(1), delta = number(2);
    require(delta != 0, "Requires delta != 0: ", delta);
    require(delta > 0 ? start <= limit : start >= limit, "Requires start <= limit when delta > 0: ", start, "/", limit);
    const Array y = c.out(0, {static_cast<int64_t>(std::ceil(std::abs((limit - start) / delta)))});
    if (y.elements()) c.record([=] { record(calls::arange(y.dtype, Scalar::of(y.dtype, start), Scalar::of(y.dtype, delta)).out(y)); });
  };
}

}  // namespace

void register_shapes() {
  const Types movable = kValues + kInt32;
  add("Transpose", {{"T", movable}, {"Tperm", kIndex}}, {"perm"}, transpose);
  add("BroadcastTo", {{"T", movable}, {"Tidx", kIndex}}, {"shape"}, broadcast_to);
  add("Tile", {{"T", movable}, {"Tmultiples", kIndex}}, {"multiples"}, tile);
  add("Slice", {{"T", kValues}, {"Index", kIndex}}, {"begin", "size"}, slice);
  add("StridedSlice", {{"T", kValues}, {"Index", kIndex}}, {"begin", "end", "strides"}, strided_slice);
  add("StridedSliceGrad", {{"T", kValues}, {"Index", kIndex}}, {"shape", "begin", "end", "strides"}, strided_slice_grad);
  add("ConcatV2", {{"T", kValues}, {"Tidx", kIndex}}, {"axis"}, concat(true));
  add("Concat", {{"T", kValues}}, {"concat_dim"}, concat(false));
  add("Pack", {{"T", kValues}}, pack);
  add("Unpack", {{"T", kValues}}, unpack);
  add("Split", {{"T", movable}}, {"split_dim"}, split);
  add("SplitV", {{"T", movable}, {"Tlen", kIndex}}, {"size_splits", "split_dim"}, split_v);
  add("Pad", {{"T", movable}, {"Tpaddings", kIndex}}, {"paddings"}, pad);
  add("PadV2", {{"T", movable}, {"Tpaddings", kIndex}}, {"paddings"}, pad);
  add("ReverseV2", {{"T", movable}, {"Tidx", kIndex}}, {"axis"}, reverse);
  add("Bitcast", {}, bitcast);
  add("Range", {{"Tidx", {tf::DT_FLOAT, tf::DT_DOUBLE, tf::DT_INT64}}}, {"start", "limit", "delta"}, range);
}

}  // namespace anygpu::tensorflow_frontend
