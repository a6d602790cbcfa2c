// Where temporaries live: fixed offsets in one arena, shared by those that are never needed at once.
#include <algorithm>
#include <numeric>

#include "core/numbers.h"
#include "runtime/plan.h"

namespace anygpu {

int64_t plan_memory(const std::vector<std::vector<ir::Touch>>& touches, std::span<const StepGroup> groups, std::vector<Slot>& slots) {
  constexpr int64_t kAlign = 64;  // a cache line, and the widest vector
  struct Life {
    int first = -1, last = -1;
  };
  std::vector<Life> lives(slots.size());
  int group = 0, left = groups.empty() ? 0 : groups[0].steps;  // of the group's steps
  for (const std::vector<ir::Touch>& step : touches) {
    for (; left == 0; left = groups[static_cast<size_t>(group)].steps) ++group;
    --left;
    for (const ir::Touch& t : step) {
      Life& l = lives[static_cast<size_t>(t.slot)];
      if (l.first < 0) l.first = group;
      l.last = group;
      slots[static_cast<size_t>(t.slot)].used = true;
      slots[static_cast<size_t>(t.slot)].stored |= t.write;
    }
  }
  std::vector<int32_t> temporaries;
  for (size_t i = 0; i < slots.size(); ++i)
    if (lives[i].first >= 0 && !slots[i].live_after && !slots[i].has_bytes) temporaries.push_back(static_cast<int32_t>(i));
  // Large ones first: the small ones fill the gaps.
  std::stable_sort(temporaries.begin(), temporaries.end(),
                   [&](int32_t a, int32_t b) { return slots[static_cast<size_t>(a)].bytes > slots[static_cast<size_t>(b)].bytes; });
  struct Placed {
    int64_t begin, end;
    Life life;
  };
  std::vector<Placed> placed;  // by begin
  int64_t total = 0;
  for (int32_t t : temporaries) {
    Slot& slot = slots[static_cast<size_t>(t)];
    Life life = lives[static_cast<size_t>(t)];
    int64_t bytes = round_up(std::max<int64_t>(slot.bytes, 1), kAlign);
    int64_t at = 0, best = -1, best_gap = INT64_MAX;
    for (const Placed& p : placed) {
      if (p.life.last < life.first || p.life.first > life.last) continue;
      if (p.begin - at >= bytes && p.begin - at < best_gap) {
        best = at;
        best_gap = p.begin - at;
      }
      at = std::max(at, p.end);
    }
    if (best < 0) best = at;
    slot.arena_offset = best;
    Placed mine{best, best + bytes, life};
    placed.insert(std::upper_bound(placed.begin(), placed.end(), mine, [](const Placed& a, const Placed& b) { return a.begin < b.begin; }),
                  mine);
    total = std::max(total, best + bytes);
  }
  return total;
}

}  // namespace anygpu
