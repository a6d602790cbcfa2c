// The table, compiled once an instruction set: see tile/isa.h for what may be included here.
#include "backends/cpu/attention/lanes.h"
#include "backends/cpu/tile/isa.h"

namespace anygpu::cpu::attention {
namespace {

constexpr float kInf = __builtin_inff();

typedef int Ints __attribute__((vector_size(kLanes * 4)));

inline Vector all(float x) {
  return Vector{} + x;
}

/// e^x within 2 ulp for x from -87 to 88; 0 below, NaN for NaN. e^r on [-ln2 / 2, ln2 / 2] is a polynomial, minimax
/// in relative error (1e-7).
inline Vector exp(Vector x) {
  const Vector low = all(-87), magic = all(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer, in the lowest bits
  const Ints none = x < low;
  const Vector safe = none ? low : x;
  const Vector shifted = safe * 1.44269504088896341f + magic;
  const Vector n = shifted - magic;
  const Vector r = safe - n * 0.693359375f + n * 2.12194440e-4f;  // ln2 in two parts, so that n * ln2 is exact enough
  Vector p = all(0.00829031479f);
  p = p * r + 0.0418979308f;
  p = p * r + 0.166676357f;
  p = p * r + 0.499991502f;
  p = p * r + 0.999999745f;
  p = p * r + 1.0f;
  const Ints power = ((Ints)shifted - (Ints)magic + 127) << 23;
  return none ? Vector{} : p * (Vector)power;  // a product, so that NaN stays NaN
}

/// ln x for x that are normal and positive, infinite or NaN, within 2 ulp or 1e-7.
inline Vector log(Vector x) {
  // x = 2^n * m, m in [sqrt(1/2), sqrt(2)); ln m = 2 artanh(s), s = (m - 1) / (m + 1).
  const Ints bits = (Ints)x, shifted = bits - 0x3f3504f3;
  const Ints n = shifted >> 23;
  const Vector m = (Vector)(bits - (n << 23));
  const Vector s = (m - 1.0f) / (m + 1.0f), q = s * s;
  Vector p = all(0.22222222f);
  p = p * q + 0.28571429f;
  p = p * q + 0.4f;
  p = p * q + 0.66666667f;
  p = p * q + 2.0f;
  const Vector y = p * s + __builtin_convertvector(n, Vector) * 0.69314718056f;
  return x < all(kInf) ? y : x;
}

/// Lane q of v[r] becomes lane r of v[q].
inline void transpose(Vector (&v)[kLanes]) {
#pragma GCC unroll 4
  for (int s = 1; s < kLanes; s *= 2) {
    Ints low, high;
    for (int j = 0; j < kLanes; ++j) {
      low[j] = j & s ? kLanes + j - s : j;
      high[j] = j & s ? kLanes + j : j + s;
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      if (i & s) continue;
      const Vector a = v[i], b = v[i + s];
      v[i] = __builtin_shuffle(a, b, low);
      v[i + s] = __builtin_shuffle(a, b, high);
    }
  }
}

void gather(int64_t queries, int64_t rows, const float* from, int64_t query, int64_t row, float factor, float* panel) {
  int64_t done = 0;
  if (row == 1) {
    for (; done + kLanes <= rows; done += kLanes) {
      for (int64_t first = 0; first < kWidth; first += kLanes) {
        Vector v[kLanes];
        if (first + kLanes <= queries) {
          for (int q = 0; q < kLanes; ++q) v[q] = load(from + (first + q) * query + done) * factor;
        } else {
          for (int q = 0; q < kLanes; ++q) v[q] = first + q < queries ? load(from + (first + q) * query + done) * factor : Vector{};
        }
        transpose(v);
        for (int r = 0; r < kLanes; ++r) store(panel + (done + r) * kWidth + first, v[r]);
      }
    }
  } else if (query == 1 && queries == kWidth) {
    for (; done < rows; ++done) {
      store(panel + done * kWidth, load(from + done * row) * factor);
      store(panel + done * kWidth + kLanes, load(from + done * row + kLanes) * factor);
    }
  }
  for (; done < rows; ++done) {
    for (int64_t q = 0; q < kWidth; ++q) panel[done * kWidth + q] = q < queries ? from[q * query + done * row] * factor : 0;
  }
}

void scatter(int64_t queries, int64_t rows, const float* panel, const float* factors, float* to, int64_t query, int64_t row) {
  int64_t done = 0;
  if (row == 1) {
    const Vector f[2] = {load(factors), load(factors + kLanes)};
    for (; done + kLanes <= rows; done += kLanes) {
      for (int64_t first = 0; first < queries; first += kLanes) {
        Vector v[kLanes];
        for (int r = 0; r < kLanes; ++r) v[r] = load(panel + (done + r) * kWidth + first) * f[first / kLanes];
        transpose(v);
        for (int q = 0; q < kLanes && first + q < queries; ++q) store(to + (first + q) * query + done, v[q]);
      }
    }
  }
  for (; done < rows; ++done) {
    for (int64_t q = 0; q < queries; ++q) to[q * query + done * row] = panel[done * kWidth + q] * factors[q];
  }
}

/// The scores of key k as they count: with the mask, and -inf beyond the diagonal.
struct Scores {
  float* scores;
  const float* mask;
  int64_t diagonal;

  /// Keys before this one are seen by all queries.
  int64_t plain(int64_t keys) const {
    if (mask || diagonal < 0) return 0;
    return diagonal < keys ? diagonal + 1 : keys;
  }
  Vector at(int64_t k, int half) const {
    Vector x = load(scores + k * kWidth + half * kLanes);
    if (mask) x += load(mask + k * kWidth + half * kLanes);
    if (k > diagonal) {
      Ints query;
      for (int q = 0; q < kLanes; ++q) query[q] = q + half * kLanes;
      const int64_t beyond = k - diagonal;
      x = query >= static_cast<int>(beyond < kWidth ? beyond : kWidth) ? x : all(-kInf);
    }
    return x;
  }
};

inline Vector greater(Vector a, Vector b) {
  return a > b ? a : b;
}

bool attend(int64_t keys, float* scores, const float* mask, int64_t diagonal, float* top, float* sum, float* decay) {
  const Scores s{scores, mask, diagonal};
  const Vector old[2] = {load(top), load(top + kLanes)};
  Vector m[2] = {old[0], old[1]};
  const int64_t plain = s.plain(keys);
  for (int64_t k = 0; k < plain; ++k) {
    for (int h = 0; h < 2; ++h) m[h] = greater(load(scores + k * kWidth + h * kLanes), m[h]);
  }
  for (int64_t k = plain; k < keys; ++k) {
    for (int h = 0; h < 2; ++h) {
      const Vector x = s.at(k, h);
      store(scores + k * kWidth + h * kLanes, x);
      m[h] = greater(x, m[h]);
    }
  }
  Vector shift[2], l[2], d[2];
  Ints changed = {};
  for (int h = 0; h < 2; ++h) {
    store(top + h * kLanes, m[h]);
    shift[h] = m[h] == all(-kInf) ? Vector{} : m[h];
    d[h] = exp(old[h] - shift[h]);
    l[h] = load(sum + h * kLanes) * d[h];
    store(decay + h * kLanes, d[h]);
    changed |= d[h] != all(1);
  }
  for (int64_t k = 0; k < keys; ++k) {
    for (int h = 0; h < 2; ++h) {
      const Vector p = exp(load(scores + k * kWidth + h * kLanes) - shift[h]);
      store(scores + k * kWidth + h * kLanes, p);
      l[h] += p;
    }
  }
  for (int h = 0; h < 2; ++h) store(sum + h * kLanes, l[h]);
  int any = 0;
  for (int q = 0; q < kLanes; ++q) any |= changed[q];
  return any != 0;
}

void decay(int64_t rows, float* panel, const float* decay) {
  const Vector d[2] = {load(decay), load(decay + kLanes)};
  for (int64_t r = 0; r < rows; ++r) {
    for (int h = 0; h < 2; ++h) store(panel + r * kWidth + h * kLanes, load(panel + r * kWidth + h * kLanes) * d[h]);
  }
}

void finish(const float* top, const float* sum, float* factors, float* logsumexp) {
  for (int h = 0; h < 2; ++h) {
    const Vector m = load(top + h * kLanes), l = load(sum + h * kLanes);
    const Ints none = l == Vector{};
    store(factors + h * kLanes, none ? Vector{} : 1.0f / l);
    store(logsumexp + h * kLanes, none ? all(-kInf) : m + log(l));
  }
}

void dot(int64_t rows, const float* a, const float* b, float* sums) {
  Vector s[2] = {};
  for (int64_t r = 0; r < rows; ++r) {
    for (int h = 0; h < 2; ++h) s[h] += load(a + r * kWidth + h * kLanes) * load(b + r * kWidth + h * kLanes);
  }
  store(sums, s[0]);
  store(sums + kLanes, s[1]);
}

void differentiate(int64_t keys, float* scores, float* grads, const float* mask, int64_t diagonal, const float* logsumexp,
                   const float* delta, float scale) {
  const Scores s{scores, mask, diagonal};
  const int64_t plain = s.plain(keys);
  const Vector lse[2] = {load(logsumexp), load(logsumexp + kLanes)}, d[2] = {load(delta), load(delta + kLanes)};
  auto finish = [&](int64_t k, int h, Vector x) {
    const int64_t at = k * kWidth + h * kLanes;
    const Vector p = exp(x - lse[h]);
    store(scores + at, p);
    store(grads + at, p * (load(grads + at) - d[h]) * scale);
  };
  for (int64_t k = 0; k < plain; ++k) {
    for (int h = 0; h < 2; ++h) finish(k, h, load(scores + k * kWidth + h * kLanes));
  }
  for (int64_t k = plain; k < keys; ++k) {
    for (int h = 0; h < 2; ++h) finish(k, h, s.at(k, h));
  }
}

}  // namespace

extern const Lanes ANYGPU_ISA_TABLE(lanes_);
const Lanes ANYGPU_ISA_TABLE(lanes_) = {ANYGPU_ISA_NAME, kWidth, gather, scatter, attend, decay, finish, dot, differentiate};

}  // namespace anygpu::cpu::attention
