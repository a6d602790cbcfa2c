#include "core/hash.h"
#include "runtime/device_impl.h"

namespace anygpu {

uint64_t PlanCache::hash(const std::vector<int64_t>& words) {
  return hash_of(words, 0x9e3779b97f4a7c15u);
}

std::shared_ptr<Plan> PlanCache::find(const std::vector<int64_t>& words) {
  auto [begin, end] = index_.equal_range(hash(words));
  for (auto it = begin; it != end; ++it)
    if (it->second->words == words) {
      entries_.splice(entries_.begin(), entries_, it->second);
      return entries_.front().plan;
    }
  return nullptr;
}

void PlanCache::insert(const std::vector<int64_t>& words, std::shared_ptr<Plan> plan) {
  entries_.push_front({words, std::move(plan)});
  index_.emplace(hash(words), entries_.begin());
  if (entries_.size() <= capacity_) return;
  auto last = std::prev(entries_.end());
  auto [begin, end] = index_.equal_range(hash(last->words));
  for (auto it = begin; it != end; ++it)
    if (it->second == last) {
      index_.erase(it);
      break;
    }
  entries_.pop_back();
}

}  // namespace anygpu
