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
// Only the last groups may still grow: planning takes a time that is linear in the Trace. A model's step has some hundreds.
constexpr int32_t kOpenGroups = 1024;

struct Group {
  Step step;
  bool gone = false;
  bool checks = false;
  std::vector<Touch> touches;  // all that its parts have made, also what fusion has since made unnecessary: it stays ordered
  std::vector<int32_t> parts;  // of the steps given
};

bool same(const Touch& a, const Touch& b) {
  return a.slot == b.slot && a.begin == b.begin && a.end == b.end && a.write == b.write;
}

class Fuser {
 public:
  Fuser(size_t slots, std::vector<Cut>& cuts) : cuts_(cuts), history_(slots) {}

  void add(Step step, const Effect& effect) {
    const std::vector<Touch>& touches = effect.touches;
    const int32_t part = parts_++;
    int at = latest_dependency(touches);
    if (auto* g = std::get_if<Generic>(&step)) {
      const size_t told = cuts_.size();
      if (at >= 0 && join(at, *g, touches, part, !effect.checks.empty(), true)) return;
      if (join_sibling(at, *g, touches, part, !effect.checks.empty())) {
        cuts_.erase(cuts_.begin() + static_cast<int64_t>(told), cuts_.end());  // of a group that there is not
        return;
      }
    }
    int32_t id = static_cast<int32_t>(groups_.size());
    groups_.push_back({std::move(step), false, !effect.checks.empty(), {}, {part}});
    close_old();
    remember(id, touches);
    if (std::holds_alternative<Generic>(groups_.back().step)) pull_producers(id, touches);
  }

  std::vector<Step> take(std::vector<Effect>& effects) {
    std::vector<Step> steps;
    std::vector<int32_t> position(groups_.size(), -1);
    for (size_t i = 0; i < groups_.size(); ++i) {
      if (groups_[i].gone) continue;
      position[i] = static_cast<int32_t>(steps.size());
      for (int32_t part : groups_[i].parts) effects[static_cast<size_t>(part)].step = position[i];
      steps.push_back(std::move(groups_[i].step));
    }
    std::erase_if(cuts_, [&](const Cut& c) { return position[static_cast<size_t>(c.step)] < 0; });
    for (Cut& c : cuts_) c.step = position[static_cast<size_t>(c.step)];
    return steps;
  }

 private:
  Group& group(int32_t id) { return groups_[static_cast<size_t>(id)]; }
  std::vector<int32_t>& history(int32_t slot) { return history_[static_cast<size_t>(slot)]; }

  static bool conflicts(const Touch& t, const Group& g) {
    return std::any_of(g.touches.begin(), g.touches.end(), [&](const Touch& o) { return conflict(t, o); });
  }

  /// The last open group that must come before these touches, or -1.
  int latest_dependency(const std::vector<Touch>& touches) {
    int latest = -1;
    for (const Touch& t : touches) {
      const std::vector<int32_t>& past = history(t.slot);
      for (size_t i = past.size(); i-- > 0 && past[i] > latest;)
        if (conflicts(t, group(past[i]))) latest = past[i];
    }
    return latest;
  }

  void remember(int32_t id, const std::vector<Touch>& touches) {
    Group& g = group(id);
    for (const Touch& t : touches) {
      if (std::none_of(g.touches.begin(), g.touches.end(), [&](const Touch& o) { return same(t, o); })) g.touches.push_back(t);
      std::vector<int32_t>& past = history(t.slot);
      const auto it = std::lower_bound(past.begin(), past.end(), id);
      if (it == past.end() || *it != id) past.insert(it, id);
    }
  }

  /// Whatever comes now comes after the closed groups anyway: nobody asks for them any more.
  void close_old() {
    const int32_t count = static_cast<int32_t>(groups_.size());
    if (count - first_open_ < 2 * kOpenGroups) return;
    first_open_ = count - kOpenGroups;
    for (std::vector<int32_t>& past : history_) past.erase(past.begin(), std::lower_bound(past.begin(), past.end(), first_open_));
  }

  /// A failed Check is told from another only by its step.
  static bool may_share(bool a_checks, bool b_checks, std::string& why) {
    if (!a_checks || !b_checks) return true;
    why = "both check what they are given";
    return false;
  }

  /// `g` becomes a part of group `at`. `tell`: why not goes into the cuts.
  bool join(int32_t at, const Generic& g, const std::vector<Touch>& touches, int32_t part, bool checks, bool tell) {
    auto* first = std::get_if<Generic>(&group(at).step);
    if (!first) return false;
    Generic fused;
    std::string why;
    if (!may_share(group(at).checks, checks, why) || !fuse_pair(*first, g, fused, why)) {
      if (tell) cuts_.push_back({static_cast<int32_t>(groups_.size()), g.name + " after " + first->name + ": " + why});
      return false;
    }
    ir::normalise(fused);
    *first = std::move(fused);
    group(at).checks |= checks;
    group(at).parts.push_back(part);
    remember(at, touches);
    pull_producers(at, touches);
    return true;
  }

  /// A later group of the same index space that reads some of the same memory: the two share the loads.
  bool join_sibling(int after, const Generic& g, const std::vector<Touch>& touches, int32_t part, bool checks) {
    int seen = 0;
    for (int at = static_cast<int>(groups_.size()) - 1; at > after && at >= first_open_ && seen < kSiblingWindow; --at) {
      if (group(at).gone) continue;
      ++seen;
      auto* first = std::get_if<Generic>(&group(at).step);
      if (first && shares_load(*first, g) && join(at, g, touches, part, checks, false)) return true;
    }
    return false;
  }

  static bool shares_load(const Generic& a, const Generic& b) {
    for (const ir::Access& x : a.accesses)
      for (const ir::Access& y : b.accesses)
        if (x.slot == y.slot && x.dtype == y.dtype && x.offset == y.offset) return true;
    return false;
  }

  /// Open groups before `into` whose results these touches read, the latest first.
  std::vector<int32_t> producers_of(int32_t into, const std::vector<Touch>& touches) {
    std::vector<int32_t> producers;
    for (const Touch& t : touches) {
      if (t.write) continue;
      for (int32_t p : history(t.slot))
        if (p < into &&
            std::any_of(group(p).touches.begin(), group(p).touches.end(), [&](const Touch& o) { return o.write && conflict(t, o); }))
          producers.push_back(p);
    }
    std::sort(producers.rbegin(), producers.rend());
    producers.erase(std::unique(producers.begin(), producers.end()), producers.end());
    return producers;
  }

  /// Groups before `into` whose results it reads, and which nothing in between depends on, move into it.
  void pull_producers(int32_t into, const std::vector<Touch>& touches) {
    for (int32_t q : producers_of(into, touches)) {
      auto* first = std::get_if<Generic>(&group(q).step);
      auto* second = std::get_if<Generic>(&group(into).step);
      std::string why;
      if (!first || !may_share(group(q).checks, group(into).checks, why) || needed_between(q, into)) continue;
      Generic fused;
      if (!fuse_pair(*first, *second, fused, why)) continue;
      ir::normalise(fused);
      *second = std::move(fused);
      Group& from = group(q);
      from.gone = true;
      group(into).checks |= from.checks;
      group(into).parts.insert(group(into).parts.end(), from.parts.begin(), from.parts.end());
      for (const Touch& t : from.touches) std::erase(history(t.slot), q);
      remember(into, from.touches);
    }
  }

  bool needed_between(int32_t q, int32_t into) {
    for (const Touch& mine : group(q).touches) {
      const std::vector<int32_t>& past = history(mine.slot);
      for (auto it = std::upper_bound(past.begin(), past.end(), q); it != past.end() && *it < into; ++it)
        if (conflicts(mine, group(*it))) return true;
    }
    return false;
  }

  std::vector<Cut>& cuts_;
  std::vector<Group> groups_;
  int32_t first_open_ = 0, parts_ = 0;
  std::vector<std::vector<int32_t>> history_;  // by slot: the open groups that touch it, rising
};

}  // namespace

std::vector<Step> fuse(std::vector<Step> steps, std::vector<Effect>& effects, const std::vector<Slot>& slots, std::vector<Cut>& cuts) {
  Fuser fuser(slots.size(), cuts);
  for (size_t i = 0; i < steps.size(); ++i) fuser.add(std::move(steps[i]), effects[i]);
  return fuser.take(effects);
}

std::vector<int32_t> drop_dead(std::vector<Step>& steps, const std::vector<Slot>& slots) {
  std::vector<bool> live(slots.size());
  for (size_t i = 0; i < slots.size(); ++i) live[i] = slots[i].live_after;
  std::vector<bool> keep(steps.size());
  for (size_t i = steps.size(); i-- > 0;) {
    if (auto* g = std::get_if<Generic>(&steps[i])) {
      std::erase_if(g->stores,
                    [&](const ir::Store& s) { return !live[static_cast<size_t>(g->accesses[static_cast<size_t>(s.access)].slot)]; });
      keep[i] = !g->stores.empty();
      if (keep[i]) ir::prune(*g);
    } else {
      for (const Touch& t : ir::touches(steps[i]))
        if (t.write && live[static_cast<size_t>(t.slot)]) keep[i] = true;
    }
    if (keep[i])
      for (const Touch& t : ir::touches(steps[i]))
        if (!t.write) live[static_cast<size_t>(t.slot)] = true;
  }
  std::vector<int32_t> position(steps.size(), -1);
  size_t n = 0;
  for (size_t i = 0; i < steps.size(); ++i)
    if (keep[i]) {
      position[i] = static_cast<int32_t>(n);
      if (n != i) steps[n] = std::move(steps[i]);
      ++n;
    }
  steps.erase(steps.begin() + static_cast<int64_t>(n), steps.end());
  return position;
}

}  // namespace anygpu
