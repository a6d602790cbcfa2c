// Fusion: steps in program order become groups; a step joins the latest group that it depends on, or pulls earlier ones in.
#include <algorithm>

#include "runtime/plan.h"

namespace anygpu {

using ir::Generic;
using ir::Step;
using ir::Touch;

namespace {

// How many independent groups a step looks back over for one that reads the same memory.
constexpr int kSiblingWindow = 6;

struct Group {
  Step step;
  bool gone = false;
  std::vector<int32_t> slots;  // all that its parts have touched, also what fusion has since made unnecessary: it stays ordered
};

struct Past {
  int32_t group;
  Touch touch;
};

class Fuser {
 public:
  Fuser(const std::vector<Slot>& slots, std::vector<Cut>& cuts) : cuts_(cuts), history_(slots.size()) {}

  void add(Step step) {
    std::vector<Touch> touches = ir::touches(step);
    int at = latest_dependency(touches);
    if (auto* g = std::get_if<Generic>(&step)) {
      if (at >= 0 && try_join(at, *g, touches)) return;
      if (join_sibling(at, *g, touches)) return;
    }
    int32_t id = static_cast<int32_t>(groups_.size());
    groups_.push_back({std::move(step), false, {}});
    remember(id, touches);
    if (std::holds_alternative<Generic>(groups_.back().step)) pull_producers(id, touches);
  }

  std::vector<Step> take() {
    std::vector<Step> steps;
    std::vector<int32_t> position(groups_.size(), -1);
    for (size_t i = 0; i < groups_.size(); ++i) {
      if (groups_[i].gone) continue;
      position[i] = static_cast<int32_t>(steps.size());
      steps.push_back(std::move(groups_[i].step));
    }
    std::erase_if(cuts_, [&](const Cut& c) { return position[static_cast<size_t>(c.step)] < 0; });
    for (Cut& c : cuts_) c.step = position[static_cast<size_t>(c.step)];
    return steps;
  }

 private:
  int latest_dependency(const std::vector<Touch>& touches) const {
    int latest = -1;
    for (const Touch& t : touches)
      for (const Past& p : history_[static_cast<size_t>(t.slot)])
        if (p.group > latest && conflict(t, p.touch)) latest = p.group;
    return latest;
  }

  void remember(int32_t group, const std::vector<Touch>& touches) {
    auto& slots = groups_[static_cast<size_t>(group)].slots;
    for (const Touch& t : touches) {
      history_[static_cast<size_t>(t.slot)].push_back({group, t});
      if (std::find(slots.begin(), slots.end(), t.slot) == slots.end()) slots.push_back(t.slot);
    }
  }

  bool try_join(int at, const Generic& g, const std::vector<Touch>& touches) {
    auto* first = std::get_if<Generic>(&groups_[static_cast<size_t>(at)].step);
    if (!first) return false;
    Generic fused;
    std::string why;
    if (!fuse_pair(*first, g, fused, why)) {
      cuts_.push_back({static_cast<int32_t>(groups_.size()), g.name + " after " + first->name + ": " + why});
      return false;
    }
    canonicalise(fused);
    *first = std::move(fused);
    remember(at, touches);
    pull_producers(at, touches);
    return true;
  }

  /// A later group of the same index space that reads some of the same memory: the two share the loads.
  bool join_sibling(int after, const Generic& g, const std::vector<Touch>& touches) {
    int seen = 0;
    for (int at = static_cast<int>(groups_.size()) - 1; at > after && seen < kSiblingWindow; --at) {
      Group& group = groups_[static_cast<size_t>(at)];
      if (group.gone) continue;
      ++seen;
      auto* first = std::get_if<Generic>(&group.step);
      if (!first || !shares_load(*first, g)) continue;
      Generic fused;
      std::string why;
      if (!fuse_pair(*first, g, fused, why)) continue;
      canonicalise(fused);
      *first = std::move(fused);
      remember(at, touches);
      pull_producers(at, touches);
      return true;
    }
    return false;
  }

  static bool shares_load(const Generic& a, const Generic& b) {
    for (const ir::Access& x : a.accesses)
      for (const ir::Access& y : b.accesses)
        if (x.slot == y.slot && x.dtype == y.dtype && x.offset == y.offset) return true;
    return false;
  }

  /// Groups before `into` whose results it reads, and which nothing in between depends on, move into it.
  void pull_producers(int32_t into, const std::vector<Touch>& touches) {
    std::vector<int32_t> producers;
    for (const Touch& t : touches)
      if (!t.write)
        for (const Past& p : history_[static_cast<size_t>(t.slot)])
          if (p.group < into && p.touch.write && conflict(t, p.touch)) producers.push_back(p.group);
    std::sort(producers.rbegin(), producers.rend());
    producers.erase(std::unique(producers.begin(), producers.end()), producers.end());
    for (int32_t q : producers) {
      auto* first = std::get_if<Generic>(&groups_[static_cast<size_t>(q)].step);
      auto* second = std::get_if<Generic>(&groups_[static_cast<size_t>(into)].step);
      if (!first || needed_between(q, into)) continue;
      Generic fused;
      std::string why;
      if (!fuse_pair(*first, *second, fused, why)) continue;
      canonicalise(fused);
      *second = std::move(fused);
      Group& from = groups_[static_cast<size_t>(q)];
      auto& slots = groups_[static_cast<size_t>(into)].slots;
      from.gone = true;
      for (int32_t slot : from.slots) {
        for (Past& p : history_[static_cast<size_t>(slot)])
          if (p.group == q) p.group = into;
        if (std::find(slots.begin(), slots.end(), slot) == slots.end()) slots.push_back(slot);
      }
    }
  }

  bool needed_between(int32_t q, int32_t into) const {
    for (int32_t slot : groups_[static_cast<size_t>(q)].slots) {
      const auto& past = history_[static_cast<size_t>(slot)];
      for (const Past& mine : past) {
        if (mine.group != q) continue;
        for (const Past& other : past)
          if (other.group > q && other.group < into && conflict(mine.touch, other.touch)) return true;
      }
    }
    return false;
  }

  std::vector<Cut>& cuts_;
  std::vector<Group> groups_;
  std::vector<std::vector<Past>> history_;
};

}  // namespace

std::vector<Step> fuse(std::vector<Step> steps, const std::vector<Slot>& slots, std::vector<Cut>& cuts) {
  Fuser fuser(slots, cuts);
  for (Step& s : steps) fuser.add(std::move(s));
  return fuser.take();
}

void drop_dead(std::vector<Step>& steps, const std::vector<Slot>& slots) {
  std::vector<bool> live(slots.size());
  for (size_t i = 0; i < slots.size(); ++i) live[i] = slots[i].live_after;
  std::vector<bool> keep(steps.size());
  for (size_t i = steps.size(); i-- > 0;) {
    if (auto* g = std::get_if<Generic>(&steps[i])) {
      std::erase_if(g->stores,
                    [&](const ir::Store& s) { return !live[static_cast<size_t>(g->accesses[static_cast<size_t>(s.access)].slot)]; });
      keep[i] = !g->stores.empty();
      if (keep[i]) prune(*g);
    } else {
      for (const Touch& t : ir::touches(steps[i]))
        if (t.write && live[static_cast<size_t>(t.slot)]) keep[i] = true;
    }
    if (keep[i])
      for (const Touch& t : ir::touches(steps[i]))
        if (!t.write) live[static_cast<size_t>(t.slot)] = true;
  }
  size_t n = 0;
  for (size_t i = 0; i < steps.size(); ++i)
    if (keep[i]) {
      if (n != i) steps[n] = std::move(steps[i]);
      ++n;
    }
  steps.resize(n);
}

}  // namespace anygpu
