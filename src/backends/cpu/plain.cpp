#include "plain.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

namespace anygpu::cpu {
namespace {

using ir::ExprOp;
using P = ParameterLayout;

template <int rank>
constexpr int base(int access) {
  return P::FirstSize + rank + access * (rank + 1);
}

/// Calls f(row, first, n) for what units begin..end hold of each row: n elements from `first`. A unit is a block of a row.
template <int rank, class F>
void each(const int64_t* p, int64_t begin, int64_t end, const F& f) {
  const int64_t block = p[P::Block], blocks = p[P::Blocks], n = p[P::FirstSize + rank - 1];
  while (begin < end) {
    const int64_t row = begin / blocks, last = std::min(end, (row + 1) * blocks);
    const int64_t from = begin % blocks * block, to = std::min(n, (last - row * blocks) * block);
    f(row, from, to - from);
    begin = last;
  }
}

template <class T, int rank>
T* at(const int64_t* p, int access, int64_t row) {
  T* start = reinterpret_cast<T*>(p[base<rank>(access)]);
  return rank == 1 ? start : start + row * p[base<rank>(access) + 1];
}

template <class T>
T value_of(int64_t word) {
  if constexpr (!std::is_floating_point_v<T>) return static_cast<T>(word);
  double wide;
  std::memcpy(&wide, &word, sizeof wide);
  return static_cast<T>(wide);
}

/// With the first argument, or with zeros.
template <class T, int rank, bool zeros>
void fill(const int64_t* p, int64_t begin, int64_t end) {
  const T value = zeros ? T{} : value_of<T>(p[base<rank>(1)]);
  each<rank>(p, begin, end, [&](int64_t row, int64_t first, int64_t n) { std::fill_n(at<T, rank>(p, 0, row) + first, n, value); });
}

template <class T, int rank, int src>
void copy(const int64_t* p, int64_t begin, int64_t end) {
  each<rank>(p, begin, end, [&](int64_t row, int64_t first, int64_t n) {
    std::memmove(at<T, rank>(p, 1 - src, row) + first, at<T, rank>(p, src, row) + first, static_cast<size_t>(n) * sizeof(T));
  });
}

template <class T>
Kernel::Function function_of(const KernelSpec& spec) {
  const bool one = spec.rank() == 1;
  if (spec.nodes[0].op == ExprOp::Const) return one ? fill<T, 1, true> : fill<T, 2, true>;
  if (spec.nodes[0].op == ExprOp::Arg) return one ? fill<T, 1, false> : fill<T, 2, false>;
  if (spec.nodes[0].a == 0) return one ? copy<T, 1, 0> : copy<T, 2, 0>;
  return one ? copy<T, 1, 1> : copy<T, 2, 1>;
}

}  // namespace

std::optional<Kernel::Entry> plain_function(const KernelSpec& spec) {
  if (spec.outer > 1 || spec.rank() != spec.outer + 1 || spec.vector_reduces || spec.vector_sequential || spec.tiled) return {};
  if (spec.nodes.size() != 1 || spec.stores.size() != 1) return {};
  const ir::Node& node = spec.nodes[0];
  const ir::Store& store = spec.stores[0];
  if (store.index >= 0 || store.guard >= 0 || store.combine != ir::Combine::None || spec.store_streams[0]) return {};
  for (const SpecAccess& a : spec.accesses) {
    if (a.inner != Inner::Contiguous || a.dtype != node.type) return {};
  }
  const bool fills = (node.op == ExprOp::Arg || node.op == ExprOp::Const) && node.imm.i == 0 && spec.accesses.size() == 1;
  const bool copies = node.op == ExprOp::Load && node.b < 0 && spec.accesses.size() == 2 && node.a != store.access;
  if (!fills && !copies) return {};
  Kernel::Function function = nullptr;
  switch (node.type) {
    case DType::F32:
      function = function_of<float>(spec);
      break;
    case DType::F64:
      function = function_of<double>(spec);
      break;
    case DType::I64:
      function = function_of<int64_t>(spec);
      break;
    case DType::I32:
      function = function_of<int32_t>(spec);
      break;
    default:  // bool is stored as 0 or 1, halves are computed in f32: kernels do both
      return {};
  }
  return Kernel::Entry{function, Over::Chunks};
}

}  // namespace anygpu::cpu
