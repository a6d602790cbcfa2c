#include "kernel.h"

#include <atomic>

namespace anygpu::tensorflow_frontend {

// ---- dtypes ----

namespace {

struct TypeName {
  tf::DataType tensorflow;
  DType ours;
};
constexpr TypeName kTypeNames[] = {
    {tf::DT_BOOL, DType::Bool}, {tf::DT_UINT8, DType::U8},   {tf::DT_INT8, DType::I8},       {tf::DT_INT16, DType::I16},
    {tf::DT_INT32, DType::I32}, {tf::DT_INT64, DType::I64},  {tf::DT_HALF, DType::F16},      {tf::DT_BFLOAT16, DType::BF16},
    {tf::DT_FLOAT, DType::F32}, {tf::DT_DOUBLE, DType::F64}, {tf::DT_COMPLEX64, DType::C64}, {tf::DT_COMPLEX128, DType::C128},
};

}  // namespace

DType dtype_of(tf::DataType t) {
  for (const TypeName& n : kTypeNames)
    if (n.tensorflow == t) return n.ours;
  throw Refusal(absl::UnimplementedError("the anygpu device has no " + tf::DataTypeString(t)));
}

Types operator+(Types a, const Types& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// ---- errors ----

absl::Status status_of(std::exception_ptr e) {
  try {
    std::rethrow_exception(e);
  } catch (const Refusal& r) {
    return r.status;
  } catch (const Error& error) {
    switch (error.kind()) {
      case ErrorKind::OutOfMemory:
        return absl::ResourceExhaustedError(error.what());
      case ErrorKind::NotImplemented:
        return absl::UnimplementedError(error.what());
      case ErrorKind::Internal:
        return absl::InternalError(error.what());
      default:
        return absl::InvalidArgumentError(error.what());
    }
  } catch (const std::exception& other) {
    return absl::InternalError(other.what());
  }
}

// ---- shapes ----

Dims dims_of(const tf::TensorShape& shape) {
  Dims d;
  for (int i = 0; i < shape.dims(); ++i) d.push_back(shape.dim_size(i));
  return d;
}

tf::TensorShape shape_of(const Dims& sizes) {
  tf::TensorShape shape;
  for (int64_t n : sizes) shape.AddDim(n);
  return shape;
}

std::vector<int64_t> integers(const tf::Tensor& t) {
  std::vector<int64_t> list;
  if (t.dtype() == tf::DT_INT32) {
    const auto flat = t.flat<int32_t>();
    list.assign(flat.data(), flat.data() + flat.size());
  } else {
    const auto flat = t.flat<int64_t>();
    list.assign(flat.data(), flat.data() + flat.size());
  }
  return list;
}

int64_t axis_within(int64_t axis, int64_t rank) {
  require(axis >= -rank && axis < rank, "Invalid reduction dimension (", axis, " for input with ", rank, " dimension(s)");
  return axis < 0 ? axis + rank : axis;
}

Dims broadcast(const Dims& a, const Dims& b) {
  Dims r = a.size() >= b.size() ? a : b;
  const Dims& shorter = a.size() >= b.size() ? b : a;
  const int before = r.size() - shorter.size();
  for (int d = 0; d < shorter.size(); ++d) {
    int64_t& n = r[before + d];
    if (n == 1) n = shorter[d];
    require(shorter[d] == n || shorter[d] == 1, "Incompatible shapes: ", shape_of(a).DebugString(), " vs. ", shape_of(b).DebugString());
  }
  return r;
}

// ---- calls ----

Device& Call::device() {
  return Device::get(context.device()->tensorflow_accelerator_device_info()->gpu_id);
}

Array Call::as_array(const tf::Tensor& t) {
  const Dims sizes = dims_of(t.shape());
  Array a;
  a.dtype = dtype_of(t.dtype());
  a.sizes = sizes;
  a.strides = contiguous_strides(sizes);
  if (t.NumElements() == 0) {
    a.buffer = device().allocate(0);
    return a;
  }
  const Place p = find_place(t.data());
  if (!p.buffer)
    throw Error(ErrorKind::Internal, "[" + context.op_kernel().type_string() + "] a tensor that is not in the device's memory");
  a.buffer = BufferRef(p.buffer);
  a.offset = p.offset / size_of(a.dtype);
  return a;
}

Array Call::array(const tf::Tensor& t) {
  Array a = as_array(t);
  execution_.reads.push_back(a.buffer);
  return a;
}

int64_t Call::host_int(int i) const {
  const std::vector<int64_t> list = host_list(i);
  require(list.size() == 1, context.op_kernel().type_string(), ": input ", i, " must be a scalar, but has shape ",
          context.input(i).shape().DebugString());
  return list[0];
}

Array Call::out(int i, const Dims& sizes) {
  tf::Tensor* t = nullptr;
  if (absl::Status s = context.allocate_output(i, shape_of(sizes), &t); !s.ok()) throw Refusal(s);
  Array a = as_array(*t);
  execution_.writes.push_back(a.buffer);
  return a;
}

void Call::same(int i, const tf::Tensor& from, const Dims& sizes) {
  tf::Tensor t;
  if (!t.CopyFrom(from, shape_of(sizes))) throw Error(ErrorKind::Internal, "[same] a tensor of another number of elements");
  context.set_output(i, t);
}

Array Call::temporary(tf::DataType type, const Dims& sizes, tf::Tensor* t) {
  if (absl::Status s = context.allocate_temp(type, shape_of(sizes), t); !s.ok()) throw Refusal(s);
  Array a = as_array(*t);
  execution_.writes.push_back(a.buffer);
  return a;
}

void Call::record(std::function<void()> f) {
  if (execution_.record) {
    execution_.record = [first = std::move(execution_.record), f = std::move(f)] {
      first();
      f();
    };
  } else {
    execution_.record = std::move(f);
  }
}

void Call::submit() {
  if (!execution_.record) return;
  const tf::FrameAndIter at = context.frame_iter();
  execution_.iteration = at.iter_id;
  execution_.frame = at.frame_id;
  execution_.kernel = kernel_;
  Recorder& recorder = Recorder::of(device());
  if (!context.call_frame()) {  // no graph: called from Python
    recorder.now(execution_.record);
  } else {
    recorder.add(context.step_id(), std::move(execution_));
  }
}

// ---- kernels ----

namespace {

class Kernel : public tf::OpKernel {
 public:
  Kernel(tf::OpKernelConstruction* c, const std::function<Body(const Node&)>& make) : OpKernel(c), number_(next()) {
    try {
      body_ = make(Node(c));
    } catch (...) {
      c->CtxFailure(status_of(std::current_exception()));
    }
  }

  void Compute(tf::OpKernelContext* context) override {
    try {
      Call call(context, number_);
      body_(call);
      call.submit();
    } catch (...) {
      context->CtxFailure(status_of(std::current_exception()));
    }
  }

 private:
  static int64_t next() {
    static std::atomic<int64_t> n{0};
    return ++n;
  }
  const int64_t number_;
  Body body_;
};

class Factory : public tf::kernel_factory::OpKernelFactory {
 public:
  explicit Factory(std::function<Body(const Node&)> make) : make_(std::move(make)) {}
  tf::OpKernel* Create(tf::OpKernelConstruction* c) override { return new Kernel(c, make_); }

 private:
  const std::function<Body(const Node&)> make_;
};

std::string& added() {
  static auto* list = new std::string;
  return *list;
}

}  // namespace

void add(const char* op, const std::vector<Constraint>& types, const std::vector<const char*>& host,
         std::function<Body(const Node&)> make) {
  tf::KernelDefBuilder def(op);
  def.Device("GPU");
  for (const Constraint& c : types) def.TypeConstraint(c.attr, c.types);
  for (const char* name : host) def.HostMemory(name);
  tf::kernel_factory::OpKernelRegistrar(def.Build(), op, std::make_unique<Factory>(std::move(make)));
  added() += op;
  for (const Constraint& c : types) {
    added() += std::string(" ") + c.attr + "=";
    for (const tf::DataType t : c.types) added() += (t == c.types[0] ? "" : ",") + tf::DataTypeString(t);
  }
  added() += "\n";
}

std::string added_kernels() {
  return added();
}

void register_kernels() {
  register_elementwise();
  register_products();
  register_reductions();
  register_shapes();
  register_variables();
  register_host_kernels();
  register_windows();
  register_indexing();
  register_random();
  register_recurrent();
  register_einsum();
}

}  // namespace anygpu::tensorflow_frontend
