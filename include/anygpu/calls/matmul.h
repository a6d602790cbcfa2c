// Calls of matrix products and attention. Operands may have any strides: a transposed factor is a View.
#pragma once

#include "anygpu/calls/call.h"

namespace anygpu::calls {

/// dst = lhs @ rhs + bias. dst may be any of the others.
template <class S = Making>
struct Matmul {
  static constexpr std::string_view name = "matmul";
  View<S> dst;     ///< [..,m,n]
  View<S> lhs;     ///< [..,m,k]
  View<S> rhs;     ///< [..,k,n]
  Maybe<S> bias;   ///< broadcast to dst

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.lhs, c.rhs, c.bias);
  }
};

/// dst = beta * self + alpha * (lhs @ rhs)
template <class S = Making>
struct MatmulScaled {
  static constexpr std::string_view name = "matmul_scaled";
  View<S> dst, lhs, rhs;  ///< as Matmul's
  Maybe<S> self;          ///< broadcast to dst; without it beta is of no account
  Number<S> alpha, beta;  ///< of dst's compute type

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.lhs, c.rhs, c.self);
    f.scalars(c.alpha, c.beta);
  }
};

template <class S = Making>
struct Dot {
  static constexpr std::string_view name = "dot";
  View<S> dst;       ///< a scalar
  View<S> lhs, rhs;  ///< [n]

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.lhs, c.rhs);
  }
};

/// Scaled dot product attention: dst = softmax(scale * q k^T + mask) v; Hkv divides H. No operand is empty.
template <class S = Making>
struct Attention {
  static constexpr std::string_view name = "attention";
  View<S> dst;        ///< [B,H,T,E]
  View<S> logsumexp;  ///< [B,H,T]
  View<S> q, k, v;    ///< [B,H,T,D], [B,Hkv,S,D], [B,Hkv,S,E]
  Maybe<S> mask;      ///< [B,H,T,S]: bool, true where the element takes part, or what is added
  double scale;
  bool causal;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst, c.logsumexp);
    f.inputs(c.q, c.k, c.v, c.mask);
    f.attrs(c.scale, c.causal);
  }
};

template <class S = Making>
struct AttentionGrad {
  static constexpr std::string_view name = "attention_grad";
  View<S> dq, dk, dv;
  View<S> ddst, q, k, v, dst, logsumexp;  ///< as Attention's
  Maybe<S> mask;
  double scale;
  bool causal;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dq, c.dk, c.dv);
    f.inputs(c.ddst, c.q, c.k, c.v, c.dst, c.logsumexp, c.mask);
    f.attrs(c.scale, c.causal);
  }
};

}  // namespace anygpu::calls
