// The Python module anygpu._distributed.
#include <torch/csrc/utils/pybind.h>

#include "backend.h"

namespace anygpu::torch_frontend::distributed {

PYBIND11_MODULE(_distributed, m) {
  m.doc() = "The backend of torch.distributed for tensors of anygpu";
  m.def(
      "over",
      [](const c10::intrusive_ptr<c10d::Backend>& host) -> c10::intrusive_ptr<c10d::Backend> { return c10::make_intrusive<Backend>(host); },
      pybind11::arg("host"), pybind11::call_guard<pybind11::gil_scoped_release>());
}

}  // namespace anygpu::torch_frontend::distributed
