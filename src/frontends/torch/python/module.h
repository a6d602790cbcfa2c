// The parts of the module _torch, a file each.
#pragma once

#include <torch/csrc/utils/pybind.h>

namespace anygpu::torch_frontend {

namespace py = pybind11;

void define_memory_history(py::module_&);

}  // namespace anygpu::torch_frontend
