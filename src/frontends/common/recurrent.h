// Whole recurrent layers of one direction: the inputs of all steps are multiplied by their weights at once, forward and backward, and the
// weights' gradients are one product each. T steps, N sequences, inputs of width I, states of width H.
#pragma once

#include "frontends/common/array.h"

namespace anygpu::common {

/// How a sequence lies in memory, and in which direction time runs.
struct SequenceOrder {
  bool batch_first = false;  ///< [N, T, *], else [T, N, *]
  bool reverse = false;
};

/// All contiguous and of one floating dtype. G is 4 for an LSTM, whose gates are input, forget, cell, output, and 3 for a GRU, whose gates
/// are reset, update, new.
struct RecurrentWeights {
  Array input;                     ///< [G H, I]
  Array state;                     ///< [G H, H]
  Array input_bias, state_bias{};  ///< [G H] both, or none
};

/// What a layer gives, and what its gradient needs of that.
struct RecurrentResult {
  Array out;       ///< [T, N, H], of every step
  Array h, c;      ///< [N, H], after the last step; no c of a GRU
  Array cells{};   ///< [T, N, H], of an LSTM
  Array active{};  ///< [T, N, 4 H] the gates of an LSTM, [T, N, 5 H] what a GRU's steps keep
};

RecurrentResult lstm(const Array& x, const Array& h0, const Array& c0, const RecurrentWeights&, SequenceOrder);
RecurrentResult gru(const Array& x, const Array& h0, const RecurrentWeights&, SequenceOrder);

/// Which gradients are asked for, besides those of the states.
struct RecurrentWanted {
  bool x, input, state, input_bias, state_bias;
};
struct RecurrentGrads {
  Array x, h0, c0;
  Array input, state, input_bias, state_bias;
};
/// `grad_out`, `grad_h`, `grad_c`: any of them may be nothing.
RecurrentGrads lstm_grad(const Array& x, const Array& h0, const Array& c0, const RecurrentWeights&, const RecurrentResult& forward,
                         const Array& grad_out, const Array& grad_h, const Array& grad_c, RecurrentWanted, SequenceOrder);
RecurrentGrads gru_grad(const Array& x, const Array& h0, const RecurrentWeights&, const RecurrentResult& forward, const Array& grad_out,
                        const Array& grad_h, RecurrentWanted, SequenceOrder);

/// Sum over the rows of a matrix: the gradient of a bias.
Array row_sum(const Array& matrix);

}  // namespace anygpu::common
