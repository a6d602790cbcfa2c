// A tensor of this device in the hands of what moves host memory between processes.
#pragma once

#include <ATen/ATen.h>

#include "anygpu/loan.h"

namespace anygpu::torch_frontend::distributed {

enum class Access { Read, Write, ReadWrite };
/// Whether what moves them computes with the elements, or may take them for integers of their width: Gloo knows few dtypes.
enum class Elements { Numbers, Bits };

/// A CPU tensor for the time between open() and close(): over the device's own memory where the host reaches it and the elements are
/// contiguous, else a copy.
class Loaned {
 public:
  /// Takes its place among what is recorded; blocks for nothing. Throws where the tensor is not on this device.
  Loaned(const at::Tensor&, Access, Elements);
  /// Waits for what was recorded before, on any thread. Throws what spoiled the tensor. The result is contiguous.
  const at::Tensor& open();
  /// Gives the tensor back, with what the CPU tensor holds by now.
  void close();
  /// Gives it back, written or not, after a failure: reading what should have been written raises this.
  void fail(const std::string& why) noexcept;

 private:
  bool covers_buffer() const;
  void let_go();

  const Access access_;
  std::unique_ptr<Loan> loan_;  // none where there are no bytes
  std::vector<int64_t> sizes_, strides_;
  at::ScalarType dtype_;
  int64_t begin_ = 0, bytes_ = 0;  // from the first element to the last, in the Buffer
  int64_t buffer_bytes_ = 0;
  bool dense_ = true;
  at::Tensor staging_, span_, host_;
};

}  // namespace anygpu::torch_frontend::distributed
