#include "tuner.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>

#include "anygpu/error.h"
#include "backends/interface/backend.h"
#include "core/environment.h"

namespace anygpu::gpu {
namespace {

constexpr char kFileKey[] = "tiles 1";
constexpr int64_t kGuard = 4096;  // bytes behind a result, which no way may touch
constexpr int kTurns = 3;         // runs that are timed, after one that is not
constexpr int kRepeats = 3;       // of the work in each
constexpr double kPatience = 1e6;

/// A small whole number: sums of products of such are exact in any order, in f32 and in all that it is rounded to.
void put_small(DType t, int value, char* to) {
  const auto f = static_cast<float>(value);
  const double d = value;
  const auto bits = std::bit_cast<uint32_t>(f);
  const uint16_t halves[] = {0xc000, 0xbc00, 0, 0x3c00, 0x4000};  // f16: -2 to 2
  const auto brain = static_cast<uint16_t>(bits >> 16);
  if (t == DType::F64) std::memcpy(to, &d, 8);
  if (t == DType::F32) std::memcpy(to, &f, 4);
  if (t == DType::F16) std::memcpy(to, &halves[value + 2], 2);
  if (t == DType::BF16) std::memcpy(to, &brain, 2);
}

std::string one_line(std::string s) {
  std::replace_if(
      s.begin(), s.end(), [](char c) { return c == '\t' || c == '\n'; }, ' ');
  return s;
}

Tuner::Settings in_one_line(Tuner::Settings s) {
  s.device = one_line(std::move(s.device));
  return s;
}

}  // namespace

/// Memory for the operands of a Named: small whole numbers, and a result of nothing sensible.
class Tuner::Arrays {
 public:
  Arrays(Bench& on, const ir::Named& n) : on_(on) {
    uint32_t state = 1;
    for (size_t i = 0; i < n.operands.size(); ++i) {
      const ir::Operand& o = n.operands[i];
      std::vector<char> bytes(static_cast<size_t>(extent_of(o).end + (i == 0 ? kGuard : 0)), static_cast<char>(0xc5));
      const auto size = static_cast<size_t>(size_of(o.dtype));
      for (size_t at = 0; i > 0 && at + size <= bytes.size(); at += size) {
        state = state * 1664525u + 1013904223u;
        put_small(o.dtype, static_cast<int>((state >> 16) % 5) - 2, bytes.data() + at);
      }
      slots_.push_back(on.allocate(static_cast<int64_t>(bytes.size())));
      on.write(slots_.back(), bytes.data(), static_cast<int64_t>(bytes.size()));
    }
  }
  ~Arrays() {
    for (const Memory& m : slots_) on_.release(m);
  }
  Arrays(const Arrays&) = delete;

  std::span<const Memory> slots() const { return slots_; }
  /// What is in the result and behind it after a run.
  std::vector<char> result_of(Trial& trial) {
    std::vector<char> bytes(static_cast<size_t>(slots_[0].bytes), static_cast<char>(0xc5));
    on_.write(slots_[0], bytes.data(), slots_[0].bytes);
    trial.run(slots_);
    on_.read(slots_[0], bytes.data(), slots_[0].bytes);
    return bytes;
  }

 private:
  Bench& on_;
  std::vector<Memory> slots_;
};

Tuner::Tuner(std::unique_ptr<Bench> on, Settings settings)
    : clock{[](const Trial& t) { return t.device_us(); }, kPatience}, on_(std::move(on)), settings_(in_one_line(std::move(settings))) {
  if (const char* v = setting(settings_.file_variable.c_str())) named_file_ = v;
  if (named_file_.empty()) files_.emplace(settings_.folder, settings_.device);
  load();
}

void Tuner::load() {
  if (!named_file_.empty()) {
    winners_ = read_tiles(named_file_, settings_.file_variable);
  } else if (const auto kept = files_->load(kFileKey, 1)) {
    winners_ = from_text(kept->front()).value_or(Winners());
  }
}

void Tuner::save() const {
  if (!named_file_.empty()) {
    write_tiles(named_file_, settings_.file_variable, winners_);
  } else {
    files_->save(kFileKey, {to_text(winners_)});
  }
}

std::string Tuner::file() const {
  return named_file_.empty() ? files_->file(kFileKey) : named_file_;
}

size_t Tuner::choose(const std::string& key, std::span<const Way> ways, const ir::Named& timed, const ir::Named& checked) {
  std::lock_guard lock(mutex_);
  const size_t guess = std::min<size_t>(1, ways.size() - 1);
  if (const auto it = winners_.find({settings_.device, key}); it != winners_.end())
    for (size_t i = 0; i < ways.size(); ++i)
      if (ways[i].name == it->second) return i;
  if (!settings_.measures) return guess;
  size_t best = guess;
  try {
    best = measure(ways, timed, checked, key);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::OutOfMemory) throw;  // there is no room to measure in: another time, perhaps
    return guess;
  }
  ++measured_;
  winners_[{settings_.device, key}] = ways[best].name;
  save();
  return best;
}

size_t Tuner::measure(std::span<const Way> ways, const ir::Named& timed, const ir::Named& checked, const std::string& key) {
  const double begin = now_us();
  Arrays small(*on_, checked), large(*on_, timed);
  std::vector<char> right;
  size_t best = 0;
  double least = 0;
  for (size_t i = 0; i < ways.size() && (i < 2 || now_us() - begin < clock.patience); ++i) {
    auto check = ways[i].compile(checked);
    auto work = ways[i].compile(timed);
    if (!check || !work) continue;
    const std::vector<char> result = small.result_of(*on_->prepare(key, {std::move(*check)}));
    if (i == 0) {
      right = result;
    } else if (result != right) {
      ++refused_;
      std::fprintf(stderr, "anygpu: [%s] tile %s computes other results on %s than the plain kernel does; it is not used\n", key.c_str(),
                   ways[i].name.c_str(), settings_.device.c_str());
      continue;
    }
    const std::unique_ptr<Trial> trial = on_->prepare(key, std::vector<Compiled>(kRepeats, *work));
    double time = 0;
    for (int turn = 0; turn <= kTurns; ++turn) {
      trial->run(large.slots());
      if (turn > 0) time = turn == 1 ? clock.last_run(*trial) : std::min(time, clock.last_run(*trial));
    }
    if (i == 0 || time < least) best = i, least = time;
  }
  return best;
}

}  // namespace anygpu::gpu
