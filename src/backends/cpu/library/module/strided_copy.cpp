#include "backends/cpu/library/module/strided_copy.h"

#include <cstdint>

#include "backends/cpu/library/module/team.h"

namespace anygpu::cpu {
namespace {

struct Loops {
  Dims sizes, dst, src;
};

/// Dimensions of one element dropped, the others in the order of dst's memory, and joined where both sides allow it.
Loops collapse(const Dims& sizes, const Dims& dst, const Dims& src) {
  Loops in;
  for (int d = 0; d < sizes.size(); ++d) {
    if (sizes[d] == 1) continue;
    int at = 0;
    while (at < in.sizes.size() && in.dst[at] >= dst[d]) ++at;
    in.sizes.insert(at, sizes[d]);
    in.dst.insert(at, dst[d]);
    in.src.insert(at, src[d]);
  }
  Loops out;
  for (int d = 0; d < in.sizes.size(); ++d) {
    int last = out.sizes.size() - 1;
    if (last >= 0 && out.dst[last] == in.dst[d] * in.sizes[d] && out.src[last] == in.src[d] * in.sizes[d]) {
      out.sizes[last] *= in.sizes[d];
      out.dst[last] = in.dst[d];
      out.src[last] = in.src[d];
    } else {
      out.sizes.push_back(in.sizes[d]);
      out.dst.push_back(in.dst[d]);
      out.src.push_back(in.src[d]);
    }
  }
  if (out.sizes.empty()) out = {{1}, {1}, {1}};
  return out;
}

template <class T>
void copy_line(int64_t n, T* dst, int64_t ds, const T* src, int64_t ss) {
  if (ds == 1 && ss == 1) {
    std::copy_n(src, n, dst);
  } else if (ds == 1 && ss == 0) {
    std::fill_n(dst, n, *src);
  } else {
    for (int64_t i = 0; i < n; ++i) dst[i * ds] = src[i * ss];
  }
}

template <class T>
void copy(const Loops& loops, T* dst, const T* src) {
  int inner = loops.sizes.size() - 1;
  int64_t length = loops.sizes[inner];
  int64_t lines = product(loops.sizes) / length;
  // A single long line is cut, many short ones are dealt out.
  if (lines == 1) {
    team_parallel_for(length, 16384, [&](int64_t begin, int64_t end) {
      copy_line(end - begin, dst + begin * loops.dst[0], loops.dst[0], src + begin * loops.src[0], loops.src[0]);
    });
    return;
  }
  team_parallel_for(lines, std::max<int64_t>(1, 16384 / length), [&](int64_t begin, int64_t end) {
    int64_t index[kMaxRank], d_at = 0, s_at = 0, rest = begin;
    for (int d = inner - 1; d >= 0; --d) {
      index[d] = rest % loops.sizes[d];
      rest /= loops.sizes[d];
      d_at += index[d] * loops.dst[d];
      s_at += index[d] * loops.src[d];
    }
    for (int64_t line = begin; line < end; ++line) {
      copy_line(length, dst + d_at, loops.dst[inner], src + s_at, loops.src[inner]);
      for (int d = inner - 1; d >= 0; --d) {
        d_at += loops.dst[d];
        s_at += loops.src[d];
        if (++index[d] < loops.sizes[d]) break;
        d_at -= loops.dst[d] * loops.sizes[d];
        s_at -= loops.src[d] * loops.sizes[d];
        index[d] = 0;
      }
    }
  });
}

}  // namespace

void strided_copy(int element_bytes, const Dims& sizes, void* dst, const Dims& dst_strides, const void* src, const Dims& src_strides) {
  if (product(sizes) == 0 || (dst == src && dst_strides == src_strides)) return;
  Loops loops = collapse(sizes, dst_strides, src_strides);
  if (element_bytes == 2)
    copy(loops, static_cast<uint16_t*>(dst), static_cast<const uint16_t*>(src));
  else
    copy(loops, static_cast<uint32_t*>(dst), static_cast<const uint32_t*>(src));
}

void strided_zero(int element_bytes, const Dims& sizes, void* dst, const Dims& dst_strides) {
  uint32_t zero = 0;
  strided_copy(element_bytes, sizes, dst, dst_strides, &zero, Dims::filled(sizes.size(), 0));
}

}  // namespace anygpu::cpu
