// Keras asks for XLA by default (jit_compile="auto"), which a pluggable device does not have, and TensorFlow then refuses the model. Here
// such a function runs as any other: its kernels are recorded, fused and compiled all the same.
#include "kernel.h"
#include "tensorflow/compiler/jit/xla_kernel_creator.h"
#include "tensorflow/core/common_runtime/function.h"
#include "tensorflow/core/framework/device.h"

namespace anygpu::tensorflow_frontend {

namespace {

class OnOtherDevices : public tf::XlaKernelCreator {
 public:
  bool CanCreateKernel(const tf::FunctionLibraryRuntime& library, const std::shared_ptr<const tf::NodeProperties>& node) const override {
    return (!library.device() || library.device()->device_type() != "GPU") && XlaKernelCreator::CanCreateKernel(library, node);
  }
};

}  // namespace

void run_compiled_functions_as_they_are() {
  // It replaces, and deletes, XLA's own.
  if (tf::GetDefaultCustomKernelCreator()) tf::RegisterDefaultCustomKernelCreator(new OnOtherDevices);
}

}  // namespace anygpu::tensorflow_frontend
