#include "disk_cache.h"

#include "code_version.h"
#include "jit.h"

namespace anygpu::cpu {
namespace {

/// What shapes code besides the kernel.
const FileCache& cache() {
  static const auto* made = new FileCache("cpu", [] {
    const Isa& isa = host_isa();
    std::string s = std::string(kCodeVersion) + "\n" + llvm::version() + "\n" + isa.name + "\n" + isa.cpu + "\n" + isa.features + "\n";
    for (const Helper& h : helpers()) s += std::string(h.name) + "\n";
    return s;
  }());
  return *made;
}

}  // namespace

std::string cache_file(const std::string& key) {
  return cache().file(key);
}

// functions (a digit and a name each, a line each), object.
std::optional<CachedObject> load_object(const std::string& key) {
  const auto parts = cache().load(key, 2);
  if (!parts) return {};
  const std::string &functions = (*parts)[0], &object = (*parts)[1];
  CachedObject cached;
  for (size_t at = 0; at < functions.size();) {
    const size_t end = functions.find('\n', at);
    if (end == std::string::npos || functions[at] < '0' || functions[at] > '2') return {};
    cached.code.over.push_back(static_cast<Over>(functions[at] - '0'));
    cached.code.functions.push_back(functions.substr(at + 1, end - at - 1));
    at = end + 1;
  }
  cached.object.assign(object.begin(), object.end());
  return cached;
}

void save_object(const std::string& key, const CachedObject& cached) {
  std::string functions;
  for (size_t i = 0; i < cached.code.functions.size(); ++i) {
    functions += static_cast<char>('0' + static_cast<int>(cached.code.over[i]));
    functions += cached.code.functions[i] + "\n";
  }
  cache().save(key, {functions, std::string(cached.object.begin(), cached.object.end())});
}

}  // namespace anygpu::cpu
