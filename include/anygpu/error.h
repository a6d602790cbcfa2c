// The one exception type. Messages read "[op] what was wrong, with the values".
#pragma once

#include <stdexcept>
#include <string>

// What crosses the shared library's border. All else is hidden, so that no other library's symbols meet ours.
#define ANYGPU_API __attribute__((visibility("default")))

namespace anygpu {

/// What a frontend turns into its framework's own exception.
enum class ErrorKind {
  Value,           ///< a bad argument; RuntimeError in PyTorch
  Index,           ///< an index out of range; IndexError
  Type,            ///< a dtype that the operator or the device does not take
  NotImplemented,  ///< right in itself, but not done here
  OutOfMemory,     ///< the device's memory is exhausted; what was asked for is not allocated, all else is intact
  Internal,        ///< a defect of anygpu
};

class ANYGPU_API Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

}  // namespace anygpu
