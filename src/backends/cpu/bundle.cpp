#include "bundle.h"

#include <algorithm>

#include "lanes.h"

namespace anygpu::cpu {
namespace {

bool has_check(const ir::Generic& g) {
  return std::any_of(g.body.nodes().begin(), g.body.nodes().end(), [](const ir::Node& n) { return n.op == ir::ExprOp::Check; });
}

bool conflict(const std::vector<ir::Touch>& a, const std::vector<ir::Touch>& b) {
  for (const ir::Touch& x : a) {
    for (const ir::Touch& y : b) {
      if (x.slot == y.slot && (x.write || y.write) && x.begin < y.end && y.begin < x.end) return true;
    }
  }
  return false;
}

}  // namespace

Bundle::Bundle(std::vector<std::unique_ptr<GenericStep>> steps) : steps_(std::move(steps)), first_{0}, words_{0} {
  for (const auto& s : steps_) {
    first_.push_back(first_.back() + (s->units() + s->grain() - 1) / s->grain());
    words_.push_back(words_.back() + s->words());
    work_ += static_cast<double>(s->units()) / static_cast<double>(s->grain());
  }
}

void Bundle::run(const Bindings& bindings, StepTime* times) const {
  const double start = times ? now_us() : 0;
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

std::unique_ptr<Bundle> find_bundle(std::span<const ir::Step> steps) {
  // Mostly the second step needs the first: seen before anything is made.
  if (steps.size() < 2 || !std::holds_alternative<ir::Generic>(steps[0]) || !std::holds_alternative<ir::Generic>(steps[1]) ||
      conflict(ir::touches(steps[0]), ir::touches(steps[1])))
    return nullptr;
  std::vector<std::unique_ptr<GenericStep>> members;
  std::vector<ir::Touch> touched;
  for (const ir::Step& step : steps) {
    const auto* g = std::get_if<ir::Generic>(&step);
    if (!g || has_check(*g)) break;
    const std::vector<ir::Touch> touches = ir::touches(step);
    if (conflict(touches, touched)) break;
    auto made = std::make_unique<GenericStep>(*g);
    if (!made->is_one_function()) break;
    members.push_back(std::move(made));
    touched.insert(touched.end(), touches.begin(), touches.end());
  }
  if (members.size() < 2) return nullptr;
  return std::make_unique<Bundle>(std::move(members));
}

}  // namespace anygpu::cpu
