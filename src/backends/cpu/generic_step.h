// GenericStep: a Generic's kernel and the parameters that one run of it passes.
#pragma once

#include <string>
#include <vector>

#include "backends/cpu/library/library.h"
#include "backends/interface/backend.h"
#include "kernel.h"

namespace anygpu::cpu {

class GenericStep {
 public:
  explicit GenericStep(const ir::Generic&);

  /// Returns the fault, or Fault::None. Any thread.
  ir::Fault run(CpuLibrary&, const Bindings&) const;

  const std::string& name() const { return name_; }

 private:
  std::string name_;
  Launch launch_;
  std::shared_ptr<const Kernel> kernel_;
  std::vector<int64_t> parameters_, bytes_;
  std::vector<int> base_words_;
  int first_argument_ = 0, arguments_ = 0, first_partial_ = 0, partials_ = 0;
  int64_t units_ = 0, partial_bytes_ = 0;
};

}  // namespace anygpu::cpu
