// Tensors as the Arrays that frontends/common computes with, and Arrays as tensors.
#pragma once

#include <ATen/Context.h>

#include "frontends/common/array.h"
#include "tensor.h"

namespace anygpu::torch_frontend {

/// The tensor's elements; nothing for an undefined one. Throws as record() does of operands.
common::Array array_of(const at::TensorBase&);
common::Array array_of(const std::optional<at::Tensor>&);

/// A tensor that takes an Array's Buffer over. No other tensor may have that Buffer: it is for results, never for arguments.
at::Tensor tensor_of(const common::Array&);
/// What a Buffer holds, written to `out`, which takes the Array's sizes as an out= argument does.
void deliver(const common::Array&, const at::Tensor& out);

/// Runs f(), which records by way of frontends/common, in the order that PyTorch asks for and with PyTorch's exceptions.
template <class F>
decltype(auto) composed(F&& f) {
  if (C10_UNLIKELY(in_bad_fork())) device_at(-1);  // throws
  const common::InOrder order(at::globalContext().deterministicAlgorithms());
  return translated(f);
}

}  // namespace anygpu::torch_frontend
