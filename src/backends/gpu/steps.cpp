#include "steps.h"

#include <algorithm>

#include "core/numbers.h"

namespace anygpu::gpu {
namespace {

constexpr int64_t kAlign = 256;

}  // namespace

Compiled compile_step(const ir::Step& step, const Target& can) {
  if (const auto* g = std::get_if<ir::Generic>(&step)) return compile_step(*g, can);
  return compile_named(std::get<ir::Named>(step), can);
}

Compiled compile_step(const ir::Generic& g, const Target& can) {
  if (auto product = compile_product(g, can)) return std::move(*product);
  return compile_generic(g, can);
}

int64_t Sequence::reserve(int64_t bytes) {
  const int64_t at = made_.scratch_bytes;
  made_.scratch_bytes += round_up(bytes, kAlign);
  return at;
}

ir::Operand Sequence::temp(DType t, const Dims& sizes) {
  const int64_t bytes = std::max<int64_t>(4, product(sizes) * size_of(t));
  largest_ = std::max(largest_, bytes);
  temps_.push_back({reserve(bytes), bytes});
  return {first_ + static_cast<int32_t>(temps_.size()) - 1, t, 0, sizes, contiguous_strides(sizes)};
}

void Sequence::add(Compiled part) {
  const int64_t base = reserve(part.scratch_bytes);
  for (Launch& l : part.launches) {
    for (Binding& b : l.bindings) {
      Temp range{base, part.scratch_bytes};
      if (b.slot >= first_) {
        range = temps_[static_cast<size_t>(b.slot - first_)];
      } else if (b.slot != kScratch) {
        continue;
      }
      b.slot = kScratch;
      b.begin += range.offset;
      b.end = range.offset + std::min(b.end, range.bytes);
    }
    made_.launches.push_back(std::move(l));
  }
}

}  // namespace anygpu::gpu
