// Rewriter: the nodes of one body made anew, in order, somewhere else. Whatever clones a body is one of these.
#pragma once

#include "ir/generic.h"

namespace anygpu::ir {

class Rewriter {
 public:
  /// f(i, node): what becomes of node i, which is given with its operands as they are now (a Load's access is the old one). Returns the
  /// node that now has its value: body.add(node), or any other. -1: none; what stays does not need it.
  template <class F>
  Rewriter(const std::vector<Node>& nodes, F&& f) : now_(nodes.size(), -1) {
    for (size_t i = 0; i < nodes.size(); ++i) {
      Node n = nodes[i];
      if (n.op != ExprOp::Load) n.a = (*this)(n.a);
      n.b = (*this)(n.b);
      n.c = (*this)(n.c);
      now_[i] = f(static_cast<int>(i), n);
    }
  }

  /// Where node `old` is now; -1 for none.
  int operator()(int old) const { return old < 0 ? -1 : now_[old]; }
  /// With its nodes where they are now; its access is the old one.
  Store operator()(Store s) const {
    s.value = (*this)(s.value), s.index = (*this)(s.index), s.guard = (*this)(s.guard);
    return s;
  }

 private:
  std::vector<int32_t> now_;
};

/// Numbers 0, 1, ... for what is kept of many, in the order in which it is first asked for.
class FirstUse {
 public:
  int operator()(int old) {
    if (static_cast<int>(now_.size()) <= old) now_.resize(old + 1, -1);
    if (now_[old] < 0) now_[old] = static_cast<int>(kept.size()), kept.push_back(old);
    return now_[old];
  }
  std::vector<int> kept;  ///< the old numbers, in their new order

 private:
  std::vector<int> now_;
};

}  // namespace anygpu::ir
