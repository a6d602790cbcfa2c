#include "bundle.h"

#include <algorithm>
#include <iterator>
#include <map>

namespace anygpu::cpu {
namespace {

/// Pointwise, and without faults.
bool is_simple(const ir::Step& step) {
  const auto* g = std::get_if<ir::Generic>(&step);
  return g && g->reduce == 0 &&
         std::none_of(g->body.nodes().begin(), g->body.nodes().end(), [](const ir::Node& n) { return n.op == ir::ExprOp::Check; });
}

/// Bytes of a slot, as ranges that do not meet.
class Ranges {
 public:
  bool meet(int64_t begin, int64_t end) const {
    const auto next = ends_.lower_bound(end);  // the first that begins too late
    return next != ends_.begin() && std::prev(next)->second > begin;
  }
  void add(int64_t begin, int64_t end) {
    auto it = ends_.lower_bound(begin);
    if (it != ends_.begin() && std::prev(it)->second >= begin) it = std::prev(it), begin = it->first;
    for (; it != ends_.end() && it->first <= end; it = ends_.erase(it)) end = std::max(end, it->second);
    ends_.emplace_hint(it, begin, end);
  }

 private:
  std::map<int64_t, int64_t> ends_;  // by begin
};

/// What the steps of a bundle touch. In ranges: a cat of 70,000 tensors is as many steps that write one slot.
class Touched {
 public:
  bool conflicts(const ir::Touch& t) const {
    const auto it = of_.find(t.slot);
    return it != of_.end() && (it->second.written.meet(t.begin, t.end) || (t.write && it->second.read.meet(t.begin, t.end)));
  }
  void add(const ir::Touch& t) { (t.write ? of_[t.slot].written : of_[t.slot].read).add(t.begin, t.end); }

 private:
  struct Slot {
    Ranges read, written;
  };
  std::map<int32_t, Slot> of_;
};

}  // namespace

Bundle::Bundle(std::span<const ir::Step> steps) : first_{0}, words_{0} {
  for (const ir::Step& step : steps) steps_.push_back(std::make_unique<GenericStep>(std::get<ir::Generic>(step)));
}

void Bundle::wait() {
  for (const auto& s : steps_) {
    s->wait();
    at_once_ &= s->is_one_function();
  }
  if (!at_once_) return;
  for (const auto& s : steps_) {
    first_.push_back(first_.back() + (s->units() + s->grain() - 1) / s->grain());
    words_.push_back(words_.back() + s->words());
    work_ += static_cast<double>(s->units()) / static_cast<double>(s->grain());
  }
}

void Bundle::run(const Bindings& bindings, StepTime* times) const {
  const double start = times ? now_us() : 0;
  if (!at_once_) {
    for (size_t i = 0; i < steps_.size(); ++i) {
      const double begin = times ? now_us() : 0;
      steps_[i]->run(library(), bindings);
      if (times) times[i] = {begin, now_us()};
    }
    return;
  }
  thread_local std::vector<int64_t> p;
  p.resize(words_.back());
  for (size_t i = 0; i < steps_.size(); ++i) steps_[i]->bind(bindings, p.data() + words_[i]);
  const int64_t* words = p.data();  // not p itself: on another thread that is another vector
  const int64_t slices = first_.back();
  parallel_for(library(), slices, work_ < 1 ? slices : 1, [&](int64_t begin, int64_t end) {
    size_t i = static_cast<size_t>(std::upper_bound(first_.begin(), first_.end(), begin) - first_.begin()) - 1;
    for (; i < steps_.size() && first_[i] < end; ++i) {
      const GenericStep& s = *steps_[i];
      const int64_t from = std::max(begin, first_[i]) - first_[i], to = std::min(end, first_[i + 1]) - first_[i];
      if (from < to) s.run_units(words + words_[i], from * s.grain(), std::min(to * s.grain(), s.units()));
    }
  });
  if (!times) return;
  const double slice = (now_us() - start) / static_cast<double>(std::max<int64_t>(1, slices));
  for (size_t i = 0; i < steps_.size(); ++i)
    times[i] = {start + slice * static_cast<double>(first_[i]), start + slice * static_cast<double>(first_[i + 1])};
}

size_t bundle_from(std::span<const ir::Step> steps) {
  Touched touched;
  size_t n = 0;
  for (; n < steps.size() && is_simple(steps[n]); ++n) {
    const std::vector<ir::Touch> touches = ir::touches(steps[n]);
    if (std::any_of(touches.begin(), touches.end(), [&](const ir::Touch& t) { return touched.conflicts(t); })) break;
    for (const ir::Touch& t : touches) touched.add(t);
  }
  return n < 2 ? 0 : n;
}

}  // namespace anygpu::cpu
