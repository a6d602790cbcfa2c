// The conformance suite: what every Backend must do, told by cases that run on it and on `reference`.
//
// A case is some Steps, the contents of their slots, and how far each output may be off. Every slot lies between guard bytes, and
// outputs are laid out with gaps: whatever the oracle leaves as it was, the backend must leave as it was, to the bit.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "backends/interface/backend.h"
#include "ir/named.h"

namespace anygpu::conformance {

/// Sanitizers make the oracle and the comparisons 10 to 50 times slower: there, cases are just large enough to be split over threads.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif
#else
inline constexpr bool kSanitized = false;
#endif

/// A backend of the table.
struct Entry {
  const char* name;
  std::unique_ptr<Backend> (*make)(int index);
  bool all_types;  ///< false: a step refused with Error(Type) is skipped
};
const std::vector<Entry>& entries();
inline void PrintTo(const Entry& e, std::ostream* out) {
  *out << e.name;
}

/// How far a float may be from the oracle's: |got - want| <= ulps * ulp(want) + absolute. Integers are exact always.
struct Tolerance {
  double ulps = 0;
  double absolute = 0;
};

struct Slot {
  DType dtype;
  std::vector<char> bytes;  ///< contents before the run
  Tolerance tolerance;
  bool temporary = false;  ///< what it holds in the end is nobody's concern
};

struct Case {
  std::string name;
  std::vector<ir::Step> steps;
  std::vector<Slot> slots;
  std::vector<Scalar> scalars;
};

/// What slots hold after a run, and what failed.
struct Outcome {
  std::vector<std::vector<char>> slots;
  std::vector<std::pair<int, Error>> failures;
  std::string damage;  ///< guard bytes that changed, in words; empty: none
};

/// Runs a case's steps, or others on its slots. Throws what prepare() throws.
Outcome run(Backend&, const Case&, std::span<const ir::Step> steps);

/// "" where `got` is what `want` is within the slots' tolerances, else the first difference in words.
std::string difference(const Case&, const Outcome& got, const Outcome& want);

std::vector<char> bytes_of(DType, const std::vector<double>&);
double element(DType, const char* at);

/// What fills an input.
enum class Fill {
  Plain,     ///< floats in [-2, 2), integers over all of their range, bools
  Special,   ///< Plain mixed with NaN, infinities, signed zeros, denormals, extremes, ties
  Positive,  ///< floats in (0, 4), integers from 1
  Small,     ///< integers in [-3, 3], whatever the dtype: sums and products of a few are exact
  Unit,      ///< floats in (-1, 1)
  Wide,      ///< floats of widely differing exponents
};

/// How an array of given sizes lies in its slot.
enum class Layout { Dense, Odd };  ///< Odd: dimensions permuted, gaps between elements, an offset, at times negative strides

/// Makes cases. All choices follow from the seed (ANYGPU_TEST_SEED, 1 if not set), which every failure prints.
class Maker {
 public:
  explicit Maker(uint64_t salt = 0);
  static uint64_t seed();

  int64_t below(int64_t n) { return static_cast<int64_t>(rng_() % static_cast<uint64_t>(n)); }
  double uniform(double lo, double hi) { return std::uniform_real_distribution<double>(lo, hi)(rng_); }
  bool chance(double p) { return uniform(0, 1) < p; }
  double value(DType, Fill);

  /// A new slot holding `sizes` of t in some layout. Inputs are filled, outputs hold a pattern.
  ir::Operand input(Case&, DType, const Dims& sizes, Layout, Fill);
  ir::Operand input(Case&, DType, const Dims& sizes, Layout, const std::vector<double>& row_major);
  ir::Operand output(Case&, DType, const Dims& sizes, Layout, Tolerance = {});
  /// An output that is read too (combining stores).
  ir::Operand both(Case&, DType, const Dims& sizes, Layout, Fill, Tolerance = {});

 private:
  ir::Operand place(Case&, DType, const Dims& sizes, Layout);
  std::mt19937_64 rng_;
};

/// Adds an access to an operand whose dimensions are those dimensions of the index space that are in `dims` (all by default);
/// along the others it repeats. Returns the access's number.
int access(ir::Generic&, const ir::Operand&, uint32_t dims = ~0u);
/// Those sizes whose bit is set.
Dims masked(const Dims& sizes, uint32_t dims);

ir::Val load(ir::Generic&, int access);
/// load, converted to the compute type.
ir::Val load_c(ir::Generic&, int access);
void store(ir::Generic&, int access, ir::Val);

/// A ULP of dtype t at |x|, not below that of the least normal number.
double ulp(DType t, double x);
double epsilon(DType t);

inline constexpr DType kReal[] = {DType::F32, DType::F64};
inline constexpr DType kFloats[] = {DType::F16, DType::BF16, DType::F32, DType::F64};
inline constexpr DType kInts[] = {DType::U8, DType::I8, DType::I16, DType::I32, DType::I64};
inline constexpr DType kAll[] = {DType::Bool, DType::U8,  DType::I8,   DType::I16, DType::I32,
                                 DType::I64,  DType::F16, DType::BF16, DType::F32, DType::F64};

class Conformance : public testing::TestWithParam<Entry> {
 protected:
  Backend& backend() { return *backend_; }
  static Backend& oracle();

  void SetUp() override;
  /// Runs the case on both and compares. Counts what the device refuses for want of a dtype.
  void check(const Case&);
  /// As check, but the backend runs these steps, the oracle the case's.
  void check(const Case&, std::span<const ir::Step> steps);
  void TearDown() override;

 private:
  Backend* backend_ = nullptr;
  int cases_ = 0, skipped_ = 0, failed_ = 0;
};

/// A case's steps, which are Nameds, lowered until all is `claimed`, with temporaries added to the case.
std::vector<ir::Step> lowered(Case&, const std::function<bool(const ir::Named&)>& claimed);

/// Runs the Nameds where the backend claims them; in any case their lowering to Generics; and, where there are other Nameds on the way,
/// the lowering to those that the backend claims.
#define CHECK_NAMED(c)                                                                                   \
  do {                                                                                                   \
    bool claimed = true;                                                                                 \
    for (const ir::Step& s : (c).steps) claimed = claimed && backend().supports(std::get<ir::Named>(s)); \
    if (claimed) check(c);                                                                               \
    Case with_temps = (c);                                                                               \
    with_temps.name += "_lowered";                                                                       \
    const std::vector<ir::Step> steps = lowered(with_temps, [](const ir::Named&) { return false; });     \
    check(with_temps, steps);                                                                            \
    Case by_parts = (c);                                                                                 \
    by_parts.name += "_by_parts";                                                                        \
    bool any = false;                                                                                    \
    const std::vector<ir::Step> parts = lowered(by_parts, [&](const ir::Named& n) {                      \
      const bool yes = backend().supports(n);                                                            \
      any = any || yes;                                                                                  \
      return yes;                                                                                        \
    });                                                                                                  \
    if (any) check(by_parts, parts);                                                                     \
  } while (false)

/// Cases too large to be worth running on the oracle itself.
class LargeConformance : public Conformance {};

}  // namespace anygpu::conformance
