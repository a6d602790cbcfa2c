// Small integers that say how tensors are shaped stay in host memory, as with TensorFlow's own GPU device. For most operators on int32
// TensorFlow has a kernel for any device that does so; for those below its CPU kernel computes, within ours.
#include "../kernel.h"
#include "anygpu/fallbacks.h"
#include "tensorflow/core/framework/op.h"

namespace anygpu::tensorflow_frontend {

namespace {

/// A node of this device all of whose operands and results are in host memory: the CPU's kernel for it runs, in the same context.
class HostKernel : public tf::OpKernel {
 public:
  HostKernel(tf::OpKernelConstruction* c, bool counted) : OpKernel(c), counted_(counted) {
    tf::AllocatorAttributes on_host;
    on_host.set_on_host(true);
    absl::Status s;
    kernel_ = tf::CreateOpKernel(tf::DeviceType(tf::DEVICE_CPU), c->device(), c->device()->GetAllocator(on_host), c->def(),
                                 c->graph_def_version(), &s);
    if (!s.ok()) c->CtxFailure(s);
  }
  void Compute(tf::OpKernelContext* context) override {
    if (counted_) {
      const fallbacks::Entry entry = fallbacks::enter(type_string());
      OP_REQUIRES(context, !entry.forbidden, absl::UnimplementedError(entry.words));
      if (!entry.words.empty()) LOG(WARNING) << entry.words;
    }
    kernel_->Compute(context);
  }

 private:
  const bool counted_;
  std::unique_ptr<tf::OpKernel> kernel_;
};

template <bool counted>
void add_on_host(const char* op, const char* type_attr, const Types& types) {
  tf::KernelDefBuilder def(op);
  def.Device("GPU");
  if (type_attr) def.TypeConstraint(type_attr, types);
  const tf::OpDef* signature = nullptr;
  if (!tf::OpRegistry::Global()->LookUpOpDef(op, &signature).ok()) return;
  for (const auto& arg : signature->input_arg()) def.HostMemory(arg.name().c_str());
  for (const auto& arg : signature->output_arg()) def.HostMemory(arg.name().c_str());
  tf::kernel_factory::OpKernelRegistrar(def.Build(), op,
                                        [](tf::OpKernelConstruction* c) -> tf::OpKernel* { return new HostKernel(c, counted); });
}

}  // namespace

void register_host_kernels() {
  for (const char* op : {"Pack", "StridedSlice", "StridedSliceGrad", "Sum", "Prod", "Min"}) add_on_host<false>(op, "T", kInt32);
  for (const char* op : {"StatelessRandomGetKeyCounter", "StatelessRandomGetKeyCounterAlg", "StatelessRandomGetAlg"})
    add_on_host<false>(op, nullptr, {});
  // Not done by the device yet: warned of, counted, or refused, as ANYGPU_FALLBACK says. Keras draws orthogonal weights with Qr.
  for (const char* op : {"Qr"}) add_on_host<true>(op, "T", {tf::DT_FLOAT, tf::DT_DOUBLE});
}

}  // namespace anygpu::tensorflow_frontend
