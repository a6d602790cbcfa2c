// Calls of softmax and its kin along dimension `axis` (0 for scalars). All operands have the sizes of src.
#pragma once

#include "anygpu/calls/call.h"

namespace anygpu::calls {

/// Plain gives NaN for a row of only -inf, Safe gives 0. The gradient of Safe is Plain's.
enum class SoftmaxKind { Plain, Log, Safe };

template <class S = Making>
struct Softmax {
  static constexpr std::string_view names[] = {"softmax", "log_softmax", "safe_softmax"};
  SoftmaxKind kind = SoftmaxKind::Plain;
  View<S> dst, src;
  int64_t axis;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src);
    f.attrs(c.axis);
  }
};

template <class S = Making>
struct SoftmaxGrad {
  static constexpr std::string_view names[] = {"softmax_grad", "log_softmax_grad"};
  SoftmaxKind kind = SoftmaxKind::Plain;
  View<S> dsrc, ddst, dst;
  int64_t axis;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dsrc);
    f.inputs(c.ddst, c.dst);
    f.attrs(c.axis);
  }
};

/// A row with no element gives NaN.
template <class S = Making>
struct MaskedSoftmax {
  static constexpr std::string_view name = "masked_softmax";
  View<S> dst, src;
  View<S> mask;  ///< bool, true where the element takes no part; broadcasts
  int64_t axis;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src, c.mask);
    f.attrs(c.axis);
  }
};

template <class S = Making>
struct MaskedSoftmaxGrad {
  static constexpr std::string_view name = "masked_softmax_grad";
  View<S> dsrc, ddst, dst, mask;
  int64_t axis;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dsrc);
    f.inputs(c.ddst, c.dst, c.mask);
    f.attrs(c.axis);
  }
};

}  // namespace anygpu::calls
