// Loans: a Buffer in the host's hands for a time, in its place among what is recorded. For what the host does with device memory while the
// device goes on with other things: collectives between processes.
#pragma once

#include <memory>

#include "anygpu/device.h"

namespace anygpu {

/// Plans that are recorded after a Loan was made and touch its Buffer wait until it is gone, and so do downloads, if it writes. Several
/// Loans of one Buffer do not wait for each other. Who holds one must not wait for what was recorded after it.
class ANYGPU_API Loan {
 public:
  virtual ~Loan() = default;
  /// Blocks until all has run that was recorded before. Throws the Error that spoiled the Buffer's contents, unless `whole`: all of them
  /// are about to be written. From any thread, once, before the functions below.
  virtual void wait(bool whole) = 0;
  /// The Buffer's first byte, where the host reaches the device's memory; else null: then read() and write() copy.
  virtual char* address() const = 0;
  virtual void read(int64_t at, void* dst, int64_t bytes) const = 0;
  virtual void write(int64_t at, const void* src, int64_t bytes) = 0;
  /// What should have been written was not: whoever reads the Buffer is given this Error.
  virtual void spoil(const Error&) = 0;
};

/// A Loan from this place in the Device's queue on. Hands over to the device what is recorded on the Buffer. Throws where the device is
/// refused.
ANYGPU_API std::unique_ptr<Loan> lend(Buffer&, bool writes);

}  // namespace anygpu
