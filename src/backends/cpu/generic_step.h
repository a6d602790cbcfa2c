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
  /// Asks for the kernel; wait() waits for it. Nothing else may be called before.
  explicit GenericStep(const ir::Generic&);
  /// Throws Error(Internal) where there is no kernel.
  void wait();

  /// Returns which Check has failed, if any. Any thread.
  ir::FaultReport run(CpuLibrary&, const Bindings&) const;

  const std::string& name() const { return name_; }

  // ---- for who starts several at once
  /// Whether one function, without scratch, does all of it. What follows holds for those only.
  bool is_one_function() const;
  int64_t units() const { return units_; }
  /// Units that are worth a thread.
  int64_t grain() const { return launch_.grain; }
  /// Parameters of a run: how many, and their values (without a place for faults).
  size_t words() const { return parameters_.size(); }
  void bind(const Bindings&, int64_t* parameters) const;
  void run_units(const int64_t* parameters, int64_t begin, int64_t end) const { (*entries_)[0].function(parameters, begin, end); }

 private:
  std::string name_;
  Launch launch_;
  std::shared_ptr<const Kernel> kernel_;
  const Kernel::Entries* entries_ = nullptr;
  std::vector<int64_t> parameters_, bytes_;
  std::vector<bool> streams_;  // per access: stored past the caches
  std::vector<int> base_words_;
  int first_argument_ = 0, arguments_ = 0, first_partial_ = 0, partials_ = 0;
  int64_t units_ = 0, partial_bytes_ = 0;
};

}  // namespace anygpu::cpu
