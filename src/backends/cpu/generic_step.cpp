#include "generic_step.h"

#include <algorithm>
#include <cstring>

namespace anygpu::cpu {

GenericStep::GenericStep(const ir::Generic& g) : name_(g.name) {
  Schedule s = schedule(g);
  if (s.nothing) return;
  launch_ = std::move(s.launch);
  kernel_ = kernel_cache().get(s.spec, s.also);
  const ParameterLayout layout(s.spec);
  streams_.resize(s.spec.accesses.size());
  for (size_t i = 0; i < s.spec.stores.size(); ++i) streams_[s.spec.stores[i].access] = s.spec.store_streams[i];
  for (const SpecAccess& a : s.spec.accesses) bytes_.push_back(size_of(a.dtype));
  parameters_.resize(layout.words());
  parameters_[ParameterLayout::Block] = launch_.block;
  parameters_[ParameterLayout::Blocks] = launch_.blocks;
  parameters_[ParameterLayout::Chunk] = launch_.chunk;
  parameters_[ParameterLayout::Chunks] = launch_.chunks;
  for (int d = 0; d < layout.rank; ++d) parameters_[layout.size(d)] = launch_.sizes[d];
  for (int a = 0; a < layout.accesses; ++a) {
    for (int d = 0; d < layout.rank; ++d) parameters_[layout.stride(a, d)] = launch_.accesses[a].strides[d];
    base_words_.push_back(layout.base(a));
  }
  for (int i = 0; i < layout.numbers; ++i) std::memcpy(&parameters_[layout.number(i)], &launch_.numbers[i], 8);
  first_argument_ = layout.argument(0);
  arguments_ = layout.args;
  first_partial_ = layout.partial(0);
  partials_ = s.spec.split_dim < 0 ? 0 : layout.partials;
  units_ = launch_.rows * (s.spec.vector_reduces ? 1 : launch_.blocks);
  // Eight bytes an element, whatever the type.
  const int64_t width = s.spec.vector_reduces ? 1 : launch_.block * launch_.blocks;
  partial_bytes_ = (8 * launch_.rows * launch_.chunks * width + 63) / 64 * 64;
}

void GenericStep::wait() {
  if (kernel_) entries_ = &kernel_->entries();
}

void GenericStep::bind(const Bindings& bindings, int64_t* p) const {
  std::copy(parameters_.begin(), parameters_.end(), p);
  for (size_t a = 0; a < base_words_.size(); ++a) {
    const LaunchAccess& access = launch_.accesses[a];
    const Memory& m = bindings.slots[access.slot];
    p[base_words_[a]] = reinterpret_cast<int64_t>(m.handle) + m.offset + access.offset * bytes_[a];
    if (streams_[a] && p[base_words_[a]] % 64 != 0)
      throw Error(ErrorKind::Internal, "[" + name_ + "] memory that is not aligned to 64 bytes: " + std::to_string(p[base_words_[a]]));
  }
  for (int i = 0; i < arguments_; ++i) std::memcpy(&p[first_argument_ + i], &bindings.scalars[launch_.args[i]], 8);
}

bool GenericStep::is_one_function() const {
  return entries_ && entries_->size() == 1 && partials_ == 0 && ((*entries_)[0].over == Over::Blocks || launch_.chunks == 1);
}

ir::FaultReport GenericStep::run(CpuLibrary& library, const Bindings& bindings) const {
  if (!entries_) return {};
  thread_local std::vector<int64_t> p;  // kept: a small kernel takes less time than an allocation
  p.resize(words());
  bind(bindings, p.data());
  int64_t failed[2] = {0, ir::FaultReport::kUnknown};  // the code, and the value that one of the Checks has left
  p[ParameterLayout::Fault] = reinterpret_cast<int64_t>(failed);
  std::unique_ptr<char[]> scratch;
  if (partials_) {
    scratch.reset(new char[partials_ * partial_bytes_ + 64]);
    const int64_t start = (reinterpret_cast<int64_t>(scratch.get()) + 63) / 64 * 64;
    for (int i = 0; i < partials_; ++i) p[first_partial_ + i] = start + i * partial_bytes_;
  }
  const int64_t* words = p.data();  // not p itself: on another thread that is another vector
  for (const Kernel::Entry& e : *entries_) {
    if (e.over == Over::BlocksIfChunked && launch_.chunks == 1) continue;
    const int64_t n = units_ * (e.over == Over::Chunks ? launch_.chunks : 1);
    if (n <= launch_.grain) {
      e.function(words, 0, n);
      continue;
    }
    parallel_for(library, n, launch_.grain, [&](int64_t begin, int64_t end) { e.function(words, begin, end); });
  }
  return {failed[0], failed[1]};
}

}  // namespace anygpu::cpu
