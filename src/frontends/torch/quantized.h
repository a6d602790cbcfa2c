// Quantised tensors: their integers are stored and copied here; PyTorch's CPU computes with them (fallback.h).
#pragma once

#include "tensor.h"

namespace anygpu::torch_frontend {

/// The integers that a quantised tensor holds, as a plain tensor over the same storage. Throws for types that pack several in a byte.
at::Tensor integers_of(const at::Tensor& quantised);
/// A quantised tensor over the storage of `integers`, of the type of `like`, quantised as that is.
at::Tensor quantised_as(const at::Tensor& integers, const at::Tensor& like);

}  // namespace anygpu::torch_frontend
