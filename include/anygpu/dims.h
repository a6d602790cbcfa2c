// A short list of extents or strides, held in place: no operator allocates memory for its shape.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "anygpu/error.h"

namespace anygpu {

/// The most dimensions that a View may have.
inline constexpr int kMaxRank = 16;

class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<int64_t> v) { assign(v.begin(), static_cast<int>(v.size())); }
  Dims(const int64_t* v, int n) { assign(v, n); }
  Dims(const Dims& o) : size_(o.size_) { std::copy(o.v_, o.v_ + o.size_, v_); }
  Dims& operator=(const Dims& o) {
    if (this == &o) return *this;
    size_ = o.size_;
    std::copy(o.v_, o.v_ + o.size_, v_);
    return *this;
  }

  /// `n` copies of `value`.
  static Dims filled(int n, int64_t value) {
    Dims d;
    for (int i = 0; i < n; ++i) d.push_back(value);
    return d;
  }

  int size() const { return size_; }
  bool empty() const { return size_ == 0; }
  int64_t operator[](int i) const { return v_[i]; }
  int64_t& operator[](int i) { return v_[i]; }
  int64_t back() const { return v_[size_ - 1]; }
  const int64_t* data() const { return v_; }
  const int64_t* begin() const { return v_; }
  const int64_t* end() const { return v_ + size_; }
  void clear() { size_ = 0; }
  void pop_back() { --size_; }

  void push_back(int64_t x) {
    if (size_ == kMaxRank) fail_rank();
    v_[size_++] = x;
  }
  void insert(int at, int64_t x) {
    push_back(x);
    std::rotate(v_ + at, v_ + size_ - 1, v_ + size_);
  }
  void erase(int at) {
    std::copy(v_ + at + 1, v_ + size_, v_ + at);
    --size_;
  }

  friend bool operator==(const Dims& a, const Dims& b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

 private:
  void assign(const int64_t* v, int n) {
    if (n > kMaxRank) fail_rank();
    size_ = n;
    std::copy(v, v + n, v_);
  }
  [[noreturn]] static void fail_rank() { throw Error(ErrorKind::NotImplemented, "tensors of more than 16 dimensions are not supported"); }

  int size_ = 0;
  int64_t v_[kMaxRank];
};

/// Product of all extents; 1 for none.
inline int64_t product(const Dims& sizes) {
  int64_t n = 1;
  for (int64_t s : sizes) n *= s;
  return n;
}

/// Row-major strides, in elements, of a dense array of these sizes.
inline Dims contiguous_strides(const Dims& sizes) {
  Dims strides = Dims::filled(sizes.size(), 1);
  for (int i = sizes.size() - 2; i >= 0; --i) strides[i] = strides[i + 1] * std::max<int64_t>(sizes[i + 1], 1);
  return strides;
}

}  // namespace anygpu
