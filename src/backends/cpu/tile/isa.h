// What a file needs that is compiled once an instruction set (isa.cmake): its vectors, and its table's name. Such a file includes no header
// with inline functions of external linkage: the linker keeps one copy of each, and it could be the one that needs AVX-512. Those
// below are a file's own.
#pragma once

#include <cstdint>

#ifndef ANYGPU_ISA
#define ANYGPU_ISA base
#endif

#define ANYGPU_ISA_JOIN2(a, b) a##b
#define ANYGPU_ISA_JOIN(a, b) ANYGPU_ISA_JOIN2(a, b)
#define ANYGPU_ISA_TEXT2(x) #x
#define ANYGPU_ISA_TEXT(x) ANYGPU_ISA_TEXT2(x)
/// prefix_avx512 and its like: the table of this instruction set.
#define ANYGPU_ISA_TABLE(prefix) ANYGPU_ISA_JOIN(prefix, ANYGPU_ISA)
/// "avx512" and its like.
#define ANYGPU_ISA_NAME ANYGPU_ISA_TEXT(ANYGPU_ISA)

namespace anygpu::cpu {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
constexpr int64_t kWidth = 2 * kLanes;  // columns of a panel: two vectors

typedef float Vector __attribute__((vector_size(kLanes * 4)));
typedef float Loose __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

inline Vector load(const float* p) {
  return *reinterpret_cast<const Loose*>(p);
}
inline void store(float* p, Vector v) {
  *reinterpret_cast<Loose*>(p) = v;
}

}  // namespace
}  // namespace anygpu::cpu
