// Reading and writing at computed places.
#include "../kernel.h"
#include "anygpu/calls/index.h"

namespace anygpu::tensorflow_frontend {

namespace {

using calls::Combine;

Dims joined(const Dims& a, const Dims& b, const Dims& c = {}) {
  Dims r = a;
  for (int64_t n : b) r.push_back(n);
  for (int64_t n : c) r.push_back(n);
  return r;
}
Dims part(const Dims& d, int from, int to) {
  return Dims(d.data() + from, to - from);
}

/// y[before.., I.., after..] = x[before.., indices, after..]
void pick(const Array& y, const Array& x, const Array& indices, int axis) {
  const ViewArg list[] = {indices};
  record(calls::Index{.dst = y, .src = x, .indices = list, .before = axis, .wraps = false});
}

/// The first `batch` dimensions of both go together.
void pick_in_batches(const Array& y, const Array& x, const Array& indices, int axis, int batch) {
  const Array front = common::move_dim(x, axis, batch);
  std::vector<Array> arrays;
  for (int d = 0; d < batch; ++d) arrays.push_back(common::along(common::arange(x.device(), x.sizes[d]), d, indices.sizes));
  arrays.push_back(common::cast(indices, DType::I64));
  std::vector<ViewArg> list(arrays.begin(), arrays.end());
  // [batch.., indices.., middle.., after..] is wanted as [batch.., middle.., indices.., after..].
  const int middle = axis - batch, own = indices.rank() - batch;
  Array view = y;
  for (int i = 0; i < own; ++i) {
    view.sizes[batch + i] = y.sizes[batch + middle + i];
    view.strides[batch + i] = y.strides[batch + middle + i];
  }
  for (int i = 0; i < middle; ++i) {
    view.sizes[batch + own + i] = y.sizes[batch + i];
    view.strides[batch + own + i] = y.strides[batch + i];
  }
  record(calls::Index{.dst = view, .src = front, .indices = list, .before = 0, .wraps = false});
}

void gather(Call& c, const Array& x, const Array& indices, int64_t given_axis, int64_t given_batch) {
  require(given_axis >= -x.rank() && given_axis < x.rank(), "Expected axis in the range [", -x.rank(), ", ", x.rank(), "), but got ",
          given_axis);
  const int axis = static_cast<int>(given_axis < 0 ? given_axis + x.rank() : given_axis);
  const int batch = static_cast<int>(given_batch < 0 ? given_batch + indices.rank() : given_batch);
  require(batch >= 0 && batch <= indices.rank() && batch <= axis, "batch_dims (", given_batch, ") must be less than rank(params) (",
          x.rank(), ").");
  const Array y = c.out(0, joined(part(x.sizes, 0, axis), part(indices.sizes, batch, indices.rank()), part(x.sizes, axis + 1, x.rank())));
  if (y.elements() == 0) return;
  require(x.elements() != 0, "indices are out of bounds: params has shape ", shape_of(x.sizes).DebugString());
  c.record([=] {
    if (batch)
      pick_in_batches(y, x, indices, axis, batch);
    else
      pick(y, x, indices, axis);
  });
}

Body gather_v2(const Node& node) {
  const auto batch = node.attr<int32_t>("batch_dims");
  return [batch](Call& c) { gather(c, c.in(0), c.in(1), c.host_int(2), batch); };
}
Body gather_v1(const Node&) {
  return [](Call& c) { gather(c, c.in(0), c.in(1), 0, 0); };
}
Body resource_gather(const Node& node) {
  const auto batch = node.attr<int32_t>("batch_dims");
  return [batch](Call& c) {
    tf::core::RefCountPtr<tf::Var> v;
    if (absl::Status s = tf::LookupResource(&c.context, tf::HandleFromInput(&c.context, 0), &v); !s.ok()) throw Refusal(s);
    tf::tf_shared_lock lock(*v->mu());
    gather(c, c.array(*v->tensor()), c.in(1), batch, batch);
  };
}

/// The last dimension of indices names a place in as many dimensions.
std::vector<Array> components(const Array& indices) {
  std::vector<Array> list;
  for (int64_t i = 0; i < indices.sizes.back(); ++i) list.push_back(common::select(indices, -1, i));
  return list;
}

Body gather_nd(const Node&) {
  return [](Call& c) {
    const Array x = c.in(0), indices = c.in(1);
    require(indices.rank() >= 1 && indices.sizes.back() <= x.rank(),
            "index innermost dimension length must be <= params rank; saw: ", indices.sizes.back(), " vs. ", x.rank());
    const int k = static_cast<int>(indices.sizes.back());
    const Array y = c.out(0, joined(part(indices.sizes, 0, indices.rank() - 1), part(x.sizes, k, x.rank())));
    if (y.elements() == 0) return;
    c.record([=] {
      if (k == 0) return common::copy_to(y, x);
      const std::vector<Array> parts = components(indices);
      const std::vector<ViewArg> list(parts.begin(), parts.end());
      record(calls::Index{.dst = y, .src = x, .indices = list, .before = 0, .wraps = false});
    });
  };
}

void put_nd(const Array& y, const Array& indices, const Array& updates, Combine combine) {
  if (updates.elements() == 0 || indices.elements() == 0) return;
  const std::vector<Array> parts = components(indices);
  const std::vector<ViewArg> list(parts.begin(), parts.end());
  record(calls::IndexPut{.dst = y, .values = updates, .indices = list, .before = 0, .wraps = false, .combine = combine});
}

std::function<Body(const Node&)> tensor_scatter(Combine combine) {
  return [combine](const Node&) {
    return [combine](Call& c) {
      const Array x = c.in(0), indices = c.in(1), updates = c.in(2), y = c.out(0, x.sizes);
      require(indices.rank() >= 1 && indices.sizes.back() <= x.rank(),
              "The last dimension of indices must be <= the rank of the tensor; saw: ", indices.sizes.back(), " vs. ", x.rank());
      require(updates.sizes ==
                  joined(part(indices.sizes, 0, indices.rank() - 1), part(x.sizes, static_cast<int>(indices.sizes.back()), x.rank())),
              "Must have updates.shape = indices.shape[:batch_dim] + params_shape[slice_dim:], got updates.shape: ",
              c.context.input(2).shape().DebugString(), ", indices.shape: ", c.context.input(1).shape().DebugString(),
              ", params_shape: ", c.context.input(0).shape().DebugString());
      if (y.elements() == 0) return;
      c.record([=] {
        common::copy_to(y, x);
        put_nd(y, indices, updates, combine);
      });
    };
  };
}

Body scatter_nd(const Node&) {
  return [](Call& c) {
    const Array indices = c.in(0), updates = c.in(1);
    const std::vector<int64_t> sizes = c.host_list(2);
    const Array y = c.out(0, Dims(sizes.data(), static_cast<int>(sizes.size())));
    if (y.elements() == 0) return;
    c.record([=] {
      record(calls::fill(y, Scalar::of(y.dtype, 0)));
      put_nd(y, indices, updates, Combine::Add);
    });
  };
}

/// Rows of data combined by segment; negative ids are left out: they go to a row that nobody reads.
std::function<Body(const Node&)> unsorted_segment(Combine combine, double start) {
  return [=](const Node&) {
    return [=](Call& c) {
      const Array data = c.in(0), ids = c.in(1);
      const int64_t segments = c.host_int(2);
      require(segments >= 0, "Input num_segments == ", segments, " must not be negative.");
      require(ids.rank() <= data.rank() && part(data.sizes, 0, ids.rank()) == ids.sizes,
              "data.shape = ", c.context.input(0).shape().DebugString(),
              " does not start with segment_ids.shape = ", c.context.input(1).shape().DebugString());
      const Dims row = part(data.sizes, ids.rank(), data.rank());
      const Array y = c.out(0, joined({segments}, row));
      if (y.elements() == 0) return;
      c.record([=] {
        const Array all = common::make(y.device(), y.dtype, joined({segments + 1}, row));
        record(calls::fill(all, Scalar::of(y.dtype, start)));
        if (data.elements()) {
          const Array flat = common::flatten(ids), kept = common::where(common::less(flat, 0), segments, flat, ids.dtype);
          const Array rows = common::reshape(data, joined({ids.elements()}, row));
          const ViewArg list[] = {kept};
          record(calls::IndexPut{.dst = all, .values = rows, .indices = list, .before = 0, .wraps = false, .combine = combine});
        }
        common::copy_to(y, common::narrow(all, 0, 0, segments));
      });
    };
  };
}

/// The first seq_lengths[b] elements of each sequence, back to front.
Body reverse_sequence(const Node& node) {
  const auto seq = static_cast<int>(node.attr<int64_t>("seq_dim")), batch = static_cast<int>(node.attr<int64_t>("batch_dim"));
  return [=](Call& c) {
    const Array x = c.in(0), lengths = c.in(1), y = c.out(0, x.sizes);
    require(seq != batch && seq < x.rank() && batch < x.rank(), "seq_dim and batch_dim must be different dimensions of the input");
    require(lengths.rank() == 1 && lengths.sizes[0] == x.sizes[batch], "Length of seq_lengths != input.dims(", batch, "), (",
            lengths.elements(), " vs. ", x.sizes[batch], ")");
    if (y.elements() == 0) return;
    c.record([=] {
      const Dims pair{x.sizes[batch], x.sizes[seq]};
      const Array time = common::along(common::arange(x.device(), pair[1]), 1, pair),
                  length = common::along(common::cast(lengths, DType::I64), 0, pair);
      Array from = common::where(common::less(time, length), length - time - 1, time, DType::I64);
      const Dims strides = from.strides;
      from.sizes = x.sizes;
      from.strides = Dims::filled(x.rank(), 0);
      from.strides[batch] = strides[0];
      from.strides[seq] = strides[1];
      record(calls::Gather{.dst = y, .src = x, .index = from, .dim = seq});
    });
  };
}

/// One diagonal of each matrix; k, in host memory, says which.
Body matrix_diag_part(const Node&) {
  return [](Call& c) {
    const Array x = c.in(0);
    const std::vector<int64_t> ks = c.inputs() > 1 ? c.host_list(1) : std::vector<int64_t>{0};
    require(x.rank() >= 2, "input must be at least 2-dim, received shape: ", c.context.input(0).shape().DebugString());
    if (ks.size() > 1 && ks[0] != ks[1]) throw Refusal(absl::UnimplementedError("MatrixDiagPart of several diagonals on anygpu"));
    const int rows = x.rank() - 2;
    const int64_t k = ks[0], n = std::min(x.sizes[rows] + std::min<int64_t>(k, 0), x.sizes[rows + 1] - std::max<int64_t>(k, 0));
    require(n > 0 || x.elements() == 0, "lower_diag_index must be between ", -x.sizes[rows], " and ", x.sizes[rows + 1], ", got ", k);
    Array view = x;
    view.offset += k > 0 ? k * x.strides[rows + 1] : -k * x.strides[rows];
    view.sizes.pop_back();
    view.strides.pop_back();
    view.sizes[rows] = std::max<int64_t>(n, 0);
    view.strides[rows] = x.strides[rows] + x.strides[rows + 1];
    const Array y = c.out(0, view.sizes);
    if (y.elements()) c.record([=] { common::copy_to(y, view); });
  };
}

Body one_hot(const Node& node) {
  const auto given = node.attr<int64_t>("axis");
  return [given](Call& c) {
    const Array indices = c.in(0), on = c.in(2), off = c.in(3);
    const int64_t depth = c.host_int(1);
    require(depth >= 0, "depth must be non-negative, got: ", depth);
    require(given >= -1 && given <= indices.rank(), "Expected axis to be -1 or between [0, ", indices.rank() + 1,
            ").  But received: ", given);
    const int axis = static_cast<int>(given == -1 ? indices.rank() : given);
    Dims sizes = indices.sizes;
    sizes.insert(axis, depth);
    const Array y = c.out(0, sizes);
    if (y.elements() == 0) return;
    c.record([=] {
      const Array number = common::along(common::cast(common::arange(y.device(), depth), indices.dtype), axis, sizes);
      const Array hit = common::equal(common::expand(common::unsqueeze(indices, axis), sizes), number);
      record(calls::Pointwise(ANYGPU_OP("where"), y.dtype).out(y).in(hit).in(on).in(off));
    });
  };
}

}  // namespace

void register_indexing() {
  const Types movable = kValues + kInt32;
  add("GatherV2", {{"Tparams", movable}, {"Tindices", kIndex}, {"Taxis", kIndex}}, {"axis"}, gather_v2);
  add("Gather", {{"Tparams", movable}, {"Tindices", kIndex}}, gather_v1);
  add("ResourceGather", {{"dtype", movable}, {"Tindices", kIndex}}, {"resource"}, resource_gather);
  add("GatherNd", {{"Tparams", movable}, {"Tindices", kIndex}}, gather_nd);
  add("TensorScatterUpdate", {{"T", movable}, {"Tindices", kIndex}}, tensor_scatter(Combine::None));
  add("TensorScatterAdd", {{"T", kNumbers + kInt32}, {"Tindices", kIndex}}, tensor_scatter(Combine::Add));
  add("TensorScatterMax", {{"T", kNumbers + kInt32}, {"Tindices", kIndex}}, tensor_scatter(Combine::Max));
  add("TensorScatterMin", {{"T", kNumbers + kInt32}, {"Tindices", kIndex}}, tensor_scatter(Combine::Min));
  add("ScatterNd", {{"T", kNumbers + kInt32}, {"Tindices", kIndex}}, {"shape"}, scatter_nd);
  add("UnsortedSegmentSum", {{"T", kNumbers + kInt32}, {"Tindices", kIndex}, {"Tnumsegments", kIndex}}, {"num_segments"},
      unsorted_segment(Combine::Add, 0));
  add("UnsortedSegmentProd", {{"T", kNumbers + kInt32}, {"Tindices", kIndex}, {"Tnumsegments", kIndex}}, {"num_segments"},
      unsorted_segment(Combine::Mul, 1));
  add("ReverseSequence", {{"T", movable}, {"Tlen", kIndex}}, reverse_sequence);
  add("MatrixDiagPart", {{"T", movable}}, matrix_diag_part);
  add("MatrixDiagPartV2", {{"T", movable}}, {"k"}, matrix_diag_part);
  add("MatrixDiagPartV3", {{"T", movable}}, {"k"}, matrix_diag_part);
  add("OneHot", {{"T", movable}, {"TI", {tf::DT_UINT8, tf::DT_INT32, tf::DT_INT64}}}, {"depth"}, one_hot);
}

}  // namespace anygpu::tensorflow_frontend
