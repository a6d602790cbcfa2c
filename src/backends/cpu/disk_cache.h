// Object code of kernels on disk (backends/cache): one file a kernel, named after everything that shapes its code: the kernel, the
// emitter's sources, LLVM, the processor, which functions libmvec has.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "backends/cache/file_cache.h"
#include "kernel.h"

namespace anygpu::cpu {

struct CachedObject {
  KernelCode code;
  std::vector<char> object;
};

/// The file that holds a key's object, or "" where nothing is kept.
std::string cache_file(const std::string& key);
/// Never throws: what cannot be read is not there.
std::optional<CachedObject> load_object(const std::string& key);
/// Never throws: what cannot be written is left out.
void save_object(const std::string& key, const CachedObject&);

}  // namespace anygpu::cpu
