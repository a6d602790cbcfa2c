// Named: an operation that hardware or a library does better than a loop nest, and Step: what a Plan is made of.
#pragma once

#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "ir/generic.h"

namespace anygpu::ir {

/// A slot seen as an array.
struct Operand {
  int32_t slot = -1;
  DType dtype = DType::F32;
  int64_t offset = 0;
  Dims sizes;
  Dims strides;
  /// Convolutions' src, dst and their gradients, dense [N, C, spatial..]: with a block of b, each b planes of a channel lie interleaved,
  /// as [spatial.., b]; the strides say what they would without. offset is a multiple of b planes, C of b. 0 and 1: as strides say.
  int64_t block = 0;
  int rank() const { return sizes.size(); }
};

/// Operands come dst first. Absent optional operands have slot -1.
enum class NamedKind : uint8_t {
  Matmul,          ///< dst[..,m,n], lhs[..,m,k], rhs[..,k,n], bias (dst's sizes, any strides) or none: dst = lhs @ rhs + bias. Halves and
                   ///< f32 may be mixed; what is computed is f32 then
  Conv,            ///< dst[N,OC,o..], src[N,IC,i..], weight[OC,IC/groups,k..], bias[OC] or none (cross-correlation)
  ConvSrcGrad,     ///< dst = grad of src[N,IC,i..]; grad of dst[N,OC,o..], weight
  ConvWeightGrad,  ///< dst = grad of weight; grad of dst[N,OC,o..], src
  AvgPool,         ///< dst[N,C,o..], src[N,C,i..]
  AvgPoolGrad,     ///< grad of src, grad of dst
  Scan,            ///< dst, src, indices (i64; for Max/Min kinds) or none; inclusive, along attrs.axis
  Sort,            ///< values, indices (i64), src; stable, along attrs.axis; NaN sorts as greatest
  /// dst[B,H,T,E], logsumexp[B,H,T] (of the compute type) or none, q[B,H,T,D], k[B,Hkv,S,D], v[B,Hkv,S,E], mask[B,H,T,S] or none:
  /// dst = softmax(scale * q @ k^T + mask) @ v. Head h of q goes with head h / (H / Hkv) of k and v. A mask of bools keeps where it is
  /// true. With attrs.causal, query t sees keys s <= t. A query that sees no key, or scores of -inf only, gives 0, and logsumexp -inf.
  Attention,
  /// dq, dk, dv; grad of dst, q, k, v, dst, logsumexp, mask or none, as in Attention
  AttentionGrad,
};
inline constexpr int kMaxOperands = 10;
const char* name_of(NamedKind);

enum class ScanKind : uint8_t { Sum, Prod, Max, Min, LogAddExp };

/// Only the fields that the kind speaks of count.
struct NamedAttrs {
  Dims stride, padding, dilation, kernel;  ///< one per spatial dimension; convolution and pooling
  int64_t groups = 1;
  bool count_include_pad = true;  ///< AvgPool
  int64_t divisor_override = 0;   ///< AvgPool; 0: none
  int32_t axis = 0;               ///< Scan, Sort
  bool descending = false;        ///< Sort
  ScanKind scan = ScanKind::Sum;
  double scale = 1;     ///< Attention, AttentionGrad
  bool causal = false;  ///< Attention, AttentionGrad
};

struct Named {
  NamedKind kind;
  std::vector<Operand> operands;
  NamedAttrs attrs;
  std::string name;  ///< for people: the operator that it came from
};

/// Slots that a step reads and writes, with the byte range of each access.
struct Touch {
  int32_t slot;
  int64_t begin, end;  // bytes; end exclusive
  bool write;
  bool covers = false;  ///< writes every byte of the range, whatever the data: what was there before cannot matter any more
};

/// A call that could not be described: `touches` is what it would have written. No backend is given one (see Plan::effects).
struct Refused {
  std::string name;
  Error error;
  std::vector<Touch> touches;
};

using Step = std::variant<Generic, Named, Refused>;

/// Throws Error(Internal) where operands do not fit together.
void verify(const Named&);
/// Whether operand i of this kind is an output.
bool writes(NamedKind, int operand);
std::string to_string(const Named&);
std::string to_string(const Refused&);
std::string to_string(const Step&);

/// The same computation as simpler steps: Generics, and Nameds that can be lowered in turn. `temp(dtype, sizes)` gives a fresh contiguous
/// temporary. For backends that do not claim the Named. Slow, never wrong.
using MakeTemp = std::function<Operand(DType, const Dims& sizes)>;
std::vector<Step> lower(const Named&, const MakeTemp& temp);
/// Lowered until all that is left are Generics and Nameds for which `claimed` holds. Names of steps that have none are the Named's.
std::vector<Step> lower_unclaimed(const Named&, const MakeTemp& temp, const std::function<bool(const Named&)>& claimed);

std::vector<Touch> touches(const Step&);
/// Whether the order of the two matters: they share bytes, and one writes.
inline bool conflict(const Touch& a, const Touch& b) {
  return a.slot == b.slot && (a.write || b.write) && a.begin < b.end && b.begin < a.end;
}

}  // namespace anygpu::ir
