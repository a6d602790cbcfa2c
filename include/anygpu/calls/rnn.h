// Calls of recurrent cells: the pointwise half of a step, after its matrix products.
#pragma once

#include "anygpu/calls/call.h"

namespace anygpu::calls {

/// Gates in the order input, forget, cell, output; each is the sum of the parts that are there.
template <class S = Making>
struct LstmCell {
  static constexpr std::string_view name = "lstm_cell";
  View<S> h, c;           ///< [N,H]
  View<S> gates;          ///< [N,4H]: the activated gates, which the gradient needs
  View<S> old_c;          ///< [N,H]
  View<S> part;           ///< [N,4H], as all parts that are no biases
  Maybe<S> part2;
  Maybe<S> part3, part4;  ///< [N,4H], or biases [4H]

  static constexpr void describe(auto& f, auto& x) {
    f.outputs(x.h, x.c, x.gates);
    f.inputs(x.old_c, x.part, x.part2, x.part3, x.part4);
  }
};

/// The gradients of h and c that are there, at least one.
template <class S = Making>
struct LstmCellGrad {
  static constexpr std::string_view name = "lstm_cell_grad";
  View<S> dgates;           ///< [N,4H], before their activation
  View<S> dold_c;           ///< [N,H]
  View<S> gates, old_c, c;  ///< as LstmCell's
  Maybe<S> dh, dc;          ///< [N,H]
  Maybe<S> more_dh;         ///< [N,H], added to dh

  static constexpr void describe(auto& f, auto& x) {
    f.outputs(x.dgates, x.dold_c);
    f.inputs(x.gates, x.old_c, x.c, x.dh, x.dc, x.more_dh);
  }
};

/// Gates in the order reset, update, new.
template <class S = Making>
struct GruCell {
  static constexpr std::string_view name = "gru_cell";
  View<S> h;                          ///< [N,H]
  View<S> workspace;                  ///< [N,5H]: reset, update, new, old h, and the hidden part of new
  View<S> input_gates, hidden_gates;  ///< [N,3H]
  View<S> old_h;                      ///< [N,H]
  Maybe<S> input_bias, hidden_bias;   ///< [3H]

  static constexpr void describe(auto& f, auto& x) {
    f.outputs(x.h, x.workspace);
    f.inputs(x.input_gates, x.hidden_gates, x.old_h, x.input_bias, x.hidden_bias);
  }
};

template <class S = Making>
struct GruCellGrad {
  static constexpr std::string_view name = "gru_cell_grad";
  View<S> dinput_gates, dhidden_gates;  ///< [N,3H]
  View<S> dold_h;                       ///< [N,H]
  View<S> dh, workspace;
  Maybe<S> more_dh;  ///< [N,H], added to dh

  static constexpr void describe(auto& f, auto& x) {
    f.outputs(x.dinput_gates, x.dhidden_gates, x.dold_h);
    f.inputs(x.dh, x.workspace, x.more_dh);
  }
};

/// The sum over rows: the gradient of a bias.
template <class S = Making>
struct RowSum {
  static constexpr std::string_view name = "row_sum";
  View<S> dst, src;  ///< [M], [N,M]

  static constexpr void describe(auto& f, auto& x) {
    f.outputs(x.dst);
    f.inputs(x.src);
  }
};

}  // namespace anygpu::calls
