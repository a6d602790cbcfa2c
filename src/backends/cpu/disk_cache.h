// Object code of kernels on disk, so that the second start of a program compiles nothing.
//
// ~/.cache/anygpu/cpu (or $XDG_CACHE_HOME/anygpu/cpu, or $ANYGPU_CACHE_DIR/cpu; ANYGPU_CACHE_DIR= turns it off). One file a kernel,
// named after everything that shapes its code: the kernel, the emitter's sources, LLVM, the processor, which functions libmvec has.
// Files are private to the user, written apart and renamed into place, and checksummed: one that is damaged, foreign, or
// writable by others is compiled anew.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernel.h"

namespace anygpu::cpu {

struct CachedObject {
  KernelCode code;
  std::vector<char> object;
};

/// 128 bits of `bytes`, as 32 hexadecimal digits. Not for secrets.
std::string digest(const std::string& bytes);

/// The file that holds a key's object, or "" where nothing is kept.
std::string cache_file(const std::string& key);
/// Never throws: what cannot be read is not there.
std::optional<CachedObject> load_object(const std::string& key);
/// Never throws: what cannot be written is left out.
void save_object(const std::string& key, const CachedObject&);

}  // namespace anygpu::cpu
