// Small integers that say how tensors are shaped stay in host memory, as with TensorFlow's own GPU device. For most operators on int32 TensorFlow has
// a kernel for any device that does so; for those below its CPU kernel computes, within ours.
#include "../kernel.h"
#include "tensorflow/core/framework/op.h"

namespace anygpu::tensorflow_frontend {

namespace {

/// A node of this device all of whose operands and results are in host memory: the CPU's kernel for it runs, in the same context.
class HostKernel : public tf::OpKernel {
 public:
  explicit HostKernel(tf::OpKernelConstruction* c) : OpKernel(c) {
    tf::AllocatorAttributes on_host;
    on_host.set_on_host(true);
    absl::Status s;
    kernel_ = tf::CreateOpKernel(tf::DeviceType(tf::DEVICE_CPU), c->device(), c->device()->GetAllocator(on_host), c->def(),
                                 c->graph_def_version(), &s);
    if (!s.ok()) c->CtxFailure(s);
  }
  void Compute(tf::OpKernelContext* context) override { kernel_->Compute(context); }

 private:
  std::unique_ptr<tf::OpKernel> kernel_;
};

/// `type_attr`: the attribute that must be int32, if any.
void add_on_host(const char* op, const char* type_attr) {
  tf::KernelDefBuilder def(op);
  def.Device("GPU");
  if (type_attr) def.TypeConstraint(type_attr, tf::DT_INT32);
  const tf::OpDef* signature = nullptr;
  if (!tf::OpRegistry::Global()->LookUpOpDef(op, &signature).ok()) return;
  for (const auto& arg : signature->input_arg()) def.HostMemory(arg.name().c_str());
  for (const auto& arg : signature->output_arg()) def.HostMemory(arg.name().c_str());
  tf::kernel_factory::OpKernelRegistrar(def.Build(), op, [](tf::OpKernelConstruction* c) -> tf::OpKernel* { return new HostKernel(c); });
}

}  // namespace

void register_host_kernels() {
  for (const char* op : {"Pack", "StridedSlice", "StridedSliceGrad", "Sum", "Prod", "Min"}) add_on_host(op, "T");
  for (const char* op : {"StatelessRandomGetKeyCounter", "StatelessRandomGetKeyCounterAlg", "StatelessRandomGetAlg"}) add_on_host(op, nullptr);
}

}  // namespace anygpu::tensorflow_frontend
