#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>

#include "backends/reference/entry.h"
#include "backends/reference/scalar.h"
#include "conformance.h"

namespace anygpu::conformance {
namespace {

constexpr int64_t kGuard = 192;  // bytes before and after every slot; a multiple of what allocate() aligns to
constexpr int kMaxReports = 6;   // a broken backend fails thousands of cases; a few tell which

char guard_byte(int64_t i) {
  return static_cast<char>(0x5a ^ (i * 37 & 0x7f));
}

reference::Value value_of(DType t, double v) {
  if (is_float(t)) return reference::from_double(v, t);
  return {.i = reference::wrap(t, reference::truncate(v))};
}

std::string show(DType t, const char* at) {
  char text[64];
  if (is_float(t)) {
    std::snprintf(text, sizeof text, "%.17g", element(t, at));
  } else {
    std::snprintf(text, sizeof text, "%lld", static_cast<long long>(reference::load(t, at).i));
  }
  return text;
}

/// Whether the backend under test takes subnormal f32 and f64 for zeros, as Vulkan lets devices without "denormals" do.
bool flushes = false;

double least_normal(DType t) {
  return t == DType::F64 ? std::numeric_limits<double>::min() : t == DType::F16 ? 0x1p-14 : std::numeric_limits<float>::min();
}

bool close(DType t, const char* got, const char* want, Tolerance tolerance) {
  if (std::memcmp(got, want, size_of(t)) == 0) return true;
  if (!is_float(t)) return false;
  const double g = element(t, got), w = element(t, want);
  if (std::isnan(g) || std::isnan(w)) return std::isnan(g) && std::isnan(w);
  if (g == w) return true;  // signed zeros
  if (flushes && std::fabs(w) < least_normal(t) && std::fabs(g) <= least_normal(t)) return true;
  const double allowed = tolerance.ulps * ulp(t, w) + tolerance.absolute;
  if (std::isinf(g) || std::isinf(w)) {
    // A result at the edge of the range may round across it.
    if (allowed == 0 || (std::isinf(g) && std::isinf(w))) return false;
    const double largest = t == DType::F64   ? std::numeric_limits<double>::max()
                           : t == DType::F16 ? 65504.0
                                             : std::numeric_limits<float>::max();
    const double finite = std::isinf(g) ? w : g, infinite = std::isinf(g) ? g : w;
    return std::signbit(finite) == std::signbit(infinite) && largest - std::fabs(finite) <= allowed;
  }
  return std::fabs(g - w) <= allowed;
}

}  // namespace

double element(DType t, const char* at) {
  return reference::to_double(reference::load(t, at), t);
}

std::vector<char> bytes_of(DType t, const std::vector<double>& values) {
  std::vector<char> bytes(values.size() * size_of(t));
  for (size_t i = 0; i < values.size(); ++i) reference::store(t, bytes.data() + i * size_of(t), value_of(t, values[i]));
  return bytes;
}

double epsilon(DType t) {
  switch (t) {
    case DType::F16:
      return 0x1p-10;
    case DType::BF16:
      return 0x1p-7;
    case DType::F32:
      return 0x1p-23;
    default:
      return 0x1p-52;
  }
}

double ulp(DType t, double x) {
  const int least = t == DType::F16 ? -14 : t == DType::F64 ? -1022 : -126;
  int exponent;
  std::frexp(x, &exponent);
  return std::ldexp(epsilon(t), std::max(x == 0 || !std::isfinite(x) ? least : exponent - 1, least));
}

Outcome run(Backend& backend, const Case& c, std::span<const ir::Step> steps) {
  const std::unique_ptr<Program> program = backend.prepare(steps);
  std::vector<Memory> whole, slots;
  for (const Slot& s : c.slots) {
    const auto bytes = static_cast<int64_t>(s.bytes.size());
    std::vector<char> image(bytes + 2 * kGuard);
    for (int64_t i = 0; i < static_cast<int64_t>(image.size()); ++i) image[i] = guard_byte(i);
    std::copy(s.bytes.begin(), s.bytes.end(), image.begin() + kGuard);
    const Memory m = backend.allocate(static_cast<int64_t>(image.size()));
    backend.write(m, 0, image.data(), static_cast<int64_t>(image.size()));
    whole.push_back(m);
    slots.push_back({m.handle, m.offset + kGuard, bytes});
  }
  Outcome out;
  for (const StepFailure& f : program->run({slots, c.scalars}, nullptr)) out.failures.emplace_back(f.step, f.error);
  for (size_t i = 0; i < whole.size(); ++i) {
    const auto bytes = static_cast<int64_t>(c.slots[i].bytes.size());
    std::vector<char> image(bytes + 2 * kGuard);
    backend.read(whole[i], 0, image.data(), static_cast<int64_t>(image.size()));
    for (int64_t k = 0; k < static_cast<int64_t>(image.size()) && out.damage.empty(); ++k) {
      if (k >= kGuard && k < kGuard + bytes) continue;
      if (image[k] != guard_byte(k))
        out.damage =
            "slot " + std::to_string(i) + " of " + std::to_string(bytes) + " bytes: byte " + std::to_string(k - kGuard) + " was written";
    }
    out.slots.emplace_back(image.begin() + kGuard, image.begin() + kGuard + bytes);
    backend.release(whole[i]);
  }
  return out;
}

std::string difference(const Case& c, const Outcome& got, const Outcome& want) {
  if (!got.damage.empty()) return got.damage;
  auto failed = [](const Outcome& o) {
    std::string s;
    for (const auto& [step, error] : o.failures) s += "step " + std::to_string(step) + ": " + error.what() + "; ";
    return s.empty() ? std::string("no failure") : s;
  };
  bool same = got.failures.size() == want.failures.size();
  for (size_t i = 0; same && i < got.failures.size(); ++i) {
    same = got.failures[i].first == want.failures[i].first && got.failures[i].second.kind() == want.failures[i].second.kind();
  }
  if (!same) return "got " + failed(got) + " want " + failed(want);
  if (!want.failures.empty()) return "";  // what failed steps write is undefined
  for (size_t i = 0; i < c.slots.size(); ++i) {
    const Slot& slot = c.slots[i];
    if (slot.temporary) continue;
    const int64_t width = size_of(slot.dtype), count = static_cast<int64_t>(slot.bytes.size()) / width;
    int64_t wrong = 0;
    std::string first;
    for (int64_t k = 0; k < count; ++k) {
      const char *g = got.slots[i].data() + k * width, *w = want.slots[i].data() + k * width, *before = slot.bytes.data() + k * width;
      const bool untouched = std::memcmp(w, before, width) == 0;
      if (untouched ? std::memcmp(g, w, width) == 0 || (is_float(slot.dtype) && close(slot.dtype, g, w, {}))
                    : close(slot.dtype, g, w, slot.tolerance))
        continue;
      if (wrong++ == 0) {
        first = "slot " + std::to_string(i) + " " + name_of(slot.dtype) + "[" + std::to_string(k) + "] got " + show(slot.dtype, g) +
                " want " + show(slot.dtype, w) + " was " + show(slot.dtype, before);
      }
    }
    if (wrong) return first + "; " + std::to_string(wrong) + " of " + std::to_string(count) + " elements are wrong";
  }
  return "";
}

uint64_t Maker::seed() {
  const char* s = std::getenv("ANYGPU_TEST_SEED");
  return s ? std::strtoull(s, nullptr, 10) : 1;
}

Maker::Maker(uint64_t salt) : rng_(seed() * 1000003 + salt) {}

double Maker::value(DType t, Fill fill) {
  if (t == DType::Bool) return static_cast<double>(below(2));
  if (fill == Fill::Small) return static_cast<double>(below(7)) - (t == DType::U8 ? 0 : 3);
  if (is_int(t)) {
    const int bits = static_cast<int>(8 * size_of(t)) - 1;
    const double top = std::ldexp(1, std::min(bits, 52));  // a double holds 52 bits and more, exactly
    const double lo = t == DType::U8 ? 0 : -top, hi = t == DType::U8 ? 256 : top;
    if (fill == Fill::Positive) return std::floor(uniform(1, hi));
    if (fill == Fill::Special && chance(0.4)) {
      const double picks[] = {0, 1, -1, 2, -2, lo, hi - 1, 63, 64, 31, 7, 8, -3, 3};
      const double p = picks[below(std::size(picks))];
      return t == DType::U8 ? std::fabs(p) : p;
    }
    if (chance(0.5)) return std::floor(uniform(lo, hi));
    return static_cast<double>(below(21)) - (t == DType::U8 ? 0 : 10);
  }
  const double inf = std::numeric_limits<double>::infinity();
  const double denormal = t == DType::F64 ? 3e-310 : t == DType::F16 ? 1e-6 : 3e-40;
  const double tiny = flushes && t != DType::F16 ? 2 * least_normal(t) : denormal;
  const double huge = t == DType::F64 ? 1e307 : t == DType::F16 ? 6e4 : 1e38;
  switch (fill) {
    case Fill::Positive:
      return uniform(0.001, 4);
    case Fill::Unit:
      return uniform(-0.999, 0.999);
    case Fill::Wide:
      return std::ldexp(uniform(-1, 1), static_cast<int>(below(t == DType::F16 ? 20 : 60)) - (t == DType::F16 ? 10 : 30));
    case Fill::Special:
      if (chance(0.4)) {
        const double picks[] = {0.0,  -0.0, 1, -1, inf,  -inf,  std::nan(""), 0.5,   -0.5, 1.5,  2.5,
                                -2.5, 2,    3, -3, tiny, -tiny, huge,         -huge, 100,  -100, 1e-3};
        return picks[below(std::size(picks))];
      }
      return chance(0.5) ? uniform(-2, 2) : uniform(-30, 30);
    default:
      return uniform(-2, 2);
  }
}

ir::Operand Maker::place(Case& c, DType t, const Dims& sizes, Layout layout) {
  ir::Operand o{static_cast<int32_t>(c.slots.size()), t, 0, sizes, contiguous_strides(sizes)};
  int64_t span = product(sizes);
  if (layout == Layout::Odd) {
    std::vector<int> order(sizes.size());
    std::iota(order.begin(), order.end(), 0);
    if (chance(0.6)) std::shuffle(order.begin(), order.end(), rng_);
    o.offset = below(4);
    int64_t stride = 1 + below(3);
    int64_t last = 0;
    for (int i = static_cast<int>(order.size()) - 1; i >= 0; --i) {
      const int d = order[i];
      const int64_t extent = std::max<int64_t>(sizes[d], 1);
      o.strides[d] = stride;
      last += (extent - 1) * stride;
      if (chance(0.25)) {  // flipped: starts at the far end
        o.offset += (extent - 1) * stride;
        last -= (extent - 1) * stride;
        o.strides[d] = -stride;
      }
      stride = stride * extent + below(3);
    }
    span = o.offset + last + 1 + below(3);
    if (product(sizes) == 0) span = o.offset + 1;
  }
  Slot s{t, std::vector<char>(span * size_of(t)), {}};
  // The pattern of what is written, or not, to the bit. For bool only 0 and 1 exist.
  for (size_t i = 0; i < s.bytes.size(); ++i)
    s.bytes[i] = t == DType::Bool ? static_cast<char>(i * 7 / 3 & 1) : static_cast<char>(0xa5 ^ (i * 29 & 0x3f));
  c.slots.push_back(std::move(s));
  return o;
}

ir::Operand Maker::output(Case& c, DType t, const Dims& sizes, Layout layout, Tolerance tolerance) {
  const ir::Operand o = place(c, t, sizes, layout);
  c.slots.back().tolerance = tolerance;
  return o;
}

ir::Operand Maker::both(Case& c, DType t, const Dims& sizes, Layout layout, Fill fill, Tolerance tolerance) {
  const ir::Operand o = input(c, t, sizes, layout, fill);
  c.slots.back().tolerance = tolerance;
  return o;
}

ir::Operand Maker::input(Case& c, DType t, const Dims& sizes, Layout layout, Fill fill) {
  std::vector<double> values(product(sizes));
  for (double& v : values) v = value(t, fill);
  return input(c, t, sizes, layout, values);
}

ir::Operand Maker::input(Case& c, DType t, const Dims& sizes, Layout layout, const std::vector<double>& row_major) {
  const ir::Operand o = place(c, t, sizes, layout);
  Dims at = Dims::filled(sizes.size(), 0);
  for (const double v : row_major) {
    int64_t e = o.offset;
    for (int d = 0; d < at.size(); ++d) e += at[d] * o.strides[d];
    reference::store(t, c.slots.back().bytes.data() + e * size_of(t), value_of(t, v));
    int d = sizes.size() - 1;
    while (d >= 0 && ++at[d] == sizes[d]) at[d--] = 0;
  }
  return o;
}

Dims masked(const Dims& sizes, uint32_t dims) {
  Dims out;
  for (int d = 0; d < sizes.size(); ++d) {
    if (dims >> d & 1) out.push_back(sizes[d]);
  }
  return out;
}

int access(ir::Generic& g, const ir::Operand& o, uint32_t dims) {
  ir::Access a{o.slot, o.dtype, o.offset, Dims::filled(g.rank(), 0)};
  int k = 0;
  for (int d = 0; d < g.rank(); ++d) {
    if (dims >> d & 1) a.strides[d] = o.strides[k++];
  }
  g.accesses.push_back(a);
  return static_cast<int>(g.accesses.size()) - 1;
}

ir::Val load(ir::Generic& g, int access) {
  return ir::load(g.body, g.accesses[access].dtype, access);
}
ir::Val load_c(ir::Generic& g, int access) {
  return ir::cast(load(g, access), compute_type(g.accesses[access].dtype));
}
void store(ir::Generic& g, int access, ir::Val v) {
  g.stores.push_back({access, ir::cast(v, g.accesses[access].dtype).id});
}

Backend& Conformance::oracle() {
  static Backend& b = *reference::entry.make(0).release();
  return b;
}

namespace {

bool flushes_denormals(Backend& b) {
  Maker m;
  Case c;
  ir::Generic g;
  g.sizes = {1};
  const int from = access(g, m.input(c, DType::F32, g.sizes, Layout::Dense, std::vector<double>{3e-40}));
  const int to = access(g, m.output(c, DType::F32, g.sizes, Layout::Dense));
  store(g, to, load(g, from) * load(g, from) + load(g, from));
  c.steps.push_back(g);
  return element(DType::F32, run(b, c, c.steps).slots[1].data()) == 0;
}

}  // namespace

void Conformance::SetUp() {
  static auto& made = *new std::map<std::string, std::pair<std::unique_ptr<Backend>, bool>>;
  auto& [b, flushing] = made[GetParam().name];
  if (!b) {
    b = GetParam().make(0);
    flushing = flushes_denormals(*b);
    if (flushing) std::printf("%s takes subnormal numbers for zeros: they are left out\n", GetParam().name);
  }
  backend_ = b.get();
  flushes = flushing;
}

namespace {

/// What the oracle makes of a case. The last one is kept: its lowering, on more slots, must come to the same.
const Outcome& wanted(Backend& oracle, const Case& c) {
  static auto& kept = *new std::pair<std::string, Outcome>;
  std::string key;
  for (const ir::Step& s : c.steps) key += ir::to_string(s);
  for (const Scalar& s : c.scalars) key.append(reinterpret_cast<const char*>(&s), sizeof s);
  for (const Slot& s : c.slots)
    if (!s.temporary) key += name_of(s.dtype), key.append(s.bytes.begin(), s.bytes.end());
  if (key != kept.first) {
    kept.first.clear();  // nothing is kept where the oracle throws
    kept.second = run(oracle, c, c.steps);
    kept.first = std::move(key);
  }
  return kept.second;
}

}  // namespace

void Conformance::check(const Case& c) {
  check(c, c.steps);
}

void Conformance::check(const Case& c, std::span<const ir::Step> steps) {
  ++cases_;
  static const bool verbose = std::getenv("ANYGPU_TEST_VERBOSE");  // which case crashed
  if (verbose) {
    std::fprintf(stderr, "case \"%s\"\n", c.name.c_str());
    for (const ir::Step& s : steps) std::fprintf(stderr, "%s", ir::to_string(s).c_str());
  }
  std::string wrong;
  try {
    const Outcome& want = wanted(oracle(), c);
    for (const auto& [step, error] : want.failures) {
      // The oracle itself refusing an address is a defect of the case.
      if (error.kind() == ErrorKind::Internal) wrong = std::string("defective case: ") + error.what();
    }
    if (!want.damage.empty()) wrong = "defective oracle: " + want.damage;
    const bool itself = GetParam().make == reference::entry.make && steps.data() == c.steps.data();
    if (wrong.empty() && !itself) wrong = difference(c, run(backend(), c, steps), want);
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::Type && !GetParam().all_types) {
      ++skipped_;
      return;
    }
    wrong = std::string("threw: ") + e.what();
  }
  if (wrong.empty()) return;
  if (++failed_ > kMaxReports) return;
  std::string text;
  for (const ir::Step& s : steps) text += ir::to_string(s);
  ADD_FAILURE() << "case \"" << c.name << "\" seed " << Maker::seed() << "\n" << wrong << "\n" << text;
}

void Conformance::TearDown() {
  if (failed_ > kMaxReports) ADD_FAILURE() << failed_ << " of " << cases_ << " cases failed";
  RecordProperty("cases", cases_);
  RecordProperty("skipped", skipped_);
  if (!HasFailure() && cases_ > 0 && skipped_ == cases_) GTEST_SKIP() << "the device has none of the dtypes";
}

std::vector<ir::Step> lowered(Case& c, const std::function<bool(const ir::Named&)>& claimed) {
  const auto temp = [&](DType t, const Dims& sizes) {
    c.slots.push_back({t, std::vector<char>(product(sizes) * size_of(t)), {}, true});
    return ir::Operand{static_cast<int32_t>(c.slots.size()) - 1, t, 0, sizes, contiguous_strides(sizes)};
  };
  std::vector<ir::Step> steps;
  for (const ir::Step& step : c.steps) {
    for (ir::Step& s : ir::lower_unclaimed(std::get<ir::Named>(step), temp, claimed)) steps.push_back(std::move(s));
  }
  return steps;
}

}  // namespace anygpu::conformance
