#include "recorder.h"

#include <algorithm>
#include <memory>
#include <queue>
#include <tuple>
#include <unordered_map>

namespace anygpu::tensorflow_frontend {

namespace {

/// Whether this thread has run a kernel of a graph: then what it reads, it reads in the middle of a step.
thread_local bool runs_graphs = false;

auto rank(const Execution& e) {
  return std::tuple(e.iteration, e.kernel, e.frame);
}

/// Of each execution: those that must come before.
std::vector<std::vector<int>> needs(const std::vector<Execution>& all) {
  std::unordered_map<const Buffer*, int> writer;
  for (size_t i = 0; i < all.size(); ++i)
    for (const BufferRef& b : all[i].writes) writer.emplace(b.get(), static_cast<int>(i));
  std::vector<std::vector<int>> before(all.size());
  for (size_t i = 0; i < all.size(); ++i)
    for (const BufferRef& b : all[i].reads)
      if (auto w = writer.find(b.get()); w != writer.end() && w->second != static_cast<int>(i)) before[i].push_back(w->second);
  return before;
}

}  // namespace

Recorder& Recorder::of(Device& device) {
  static std::mutex mutex;
  static auto* all = new std::vector<std::unique_ptr<Recorder>>;  // leaked: kernels may run while the process exits
  std::lock_guard lock(mutex);
  const auto i = static_cast<size_t>(device.index());
  if (i >= all->size()) all->resize(i + 1);
  if (!(*all)[i]) (*all)[i].reset(new Recorder(device));
  return *(*all)[i];
}

void Recorder::record_locked(const std::vector<char>& chosen) {
  const auto before = needs(waiting_);
  std::vector<std::vector<int>> after(waiting_.size());
  std::vector<int> missing(waiting_.size());
  const auto later = [&](int a, int b) {
    return std::tuple(rank(waiting_[static_cast<size_t>(a)]), a) > std::tuple(rank(waiting_[static_cast<size_t>(b)]), b);
  };
  std::priority_queue<int, std::vector<int>, decltype(later)> ready(later);
  for (size_t i = 0; i < waiting_.size(); ++i) {
    if (!chosen[i]) continue;
    missing[i] = static_cast<int>(before[i].size());
    for (int b : before[i]) after[static_cast<size_t>(b)].push_back(static_cast<int>(i));
    if (missing[i] == 0) ready.push(static_cast<int>(i));
  }
  while (!ready.empty()) {
    const auto i = static_cast<size_t>(ready.top());
    ready.pop();
    try {
      waiting_[i].record();
    } catch (...) {
      if (!error_) error_ = std::current_exception();
    }
    for (int a : after[i])
      if (--missing[static_cast<size_t>(a)] == 0) ready.push(a);
  }
  // Let go of what was recorded: what nobody else holds then is a temporary.
  std::vector<Execution> rest;
  for (size_t i = 0; i < waiting_.size(); ++i)
    if (!chosen[i]) rest.push_back(std::move(waiting_[i]));
  waiting_ = std::move(rest);
}

void Recorder::record_all_locked() {
  if (!waiting_.empty()) record_locked(std::vector<char>(waiting_.size(), 1));
}

void Recorder::add(int64_t step, Execution e) {
  runs_graphs = true;
  std::lock_guard lock(mutex_);
  if (step != step_) {
    if (!waiting_.empty()) {
      record_all_locked();
      device_.flush();
    }
    step_ = step;
  }
  waiting_.push_back(std::move(e));
}

void Recorder::now(const std::function<void()>& record) {
  std::lock_guard lock(mutex_);
  record_all_locked();
  record();
}

void Recorder::finish() {
  std::lock_guard lock(mutex_);
  if (waiting_.empty()) return;
  record_all_locked();
  device_.flush();
}

void Recorder::need(Buffer& buffer) {
  std::lock_guard lock(mutex_);
  if (waiting_.empty()) return;
  if (!runs_graphs) return record_all_locked();
  const auto before = needs(waiting_);
  std::vector<char> chosen(waiting_.size());
  std::vector<int> open;
  const auto choose = [&](int i) {
    if (!std::exchange(chosen[static_cast<size_t>(i)], 1)) open.push_back(i);
  };
  for (size_t i = 0; i < waiting_.size(); ++i)
    for (const BufferRef& b : waiting_[i].writes)
      if (b.get() == &buffer) choose(static_cast<int>(i));
  while (!open.empty()) {
    const int i = open.back();
    open.pop_back();
    for (int b : before[static_cast<size_t>(i)]) choose(b);
  }
  record_locked(chosen);
}

void Recorder::touch(Buffer& buffer) {
  std::lock_guard lock(mutex_);
  const auto is = [&](const BufferRef& b) { return b.get() == &buffer; };
  for (const Execution& e : waiting_)
    if (std::any_of(e.reads.begin(), e.reads.end(), is) || std::any_of(e.writes.begin(), e.writes.end(), is)) return record_all_locked();
}

std::exception_ptr Recorder::take_error() {
  std::lock_guard lock(mutex_);
  return std::exchange(error_, nullptr);
}

}  // namespace anygpu::tensorflow_frontend
