// Recurrent layers of frontends/common against their definition, and their gradients against differences.
#include <cmath>
#include <functional>

#include "common.h"
#include "frontends/common/recurrent.h"

namespace anygpu::common {
namespace {

constexpr int64_t kSteps = 3, kBatch = 2, kWidth = 3, kHidden = 2;

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

/// Numbers that repeat nowhere.
Values numbers(int64_t n, double phase) {
  Values v;
  for (int64_t i = 0; i < n; ++i) v.push_back(std::sin(1.7 * static_cast<double>(i) + phase));
  return v;
}

/// All that a layer is given, on the host: x [T, N, I], h0, c0 [N, H], weights as RecurrentWeights has them.
struct Inputs {
  Values x, h0, c0, input, state, input_bias, state_bias;
  explicit Inputs(int64_t gates)
      : x(numbers(kSteps * kBatch * kWidth, 0)),
        h0(numbers(kBatch * kHidden, 1)),
        c0(numbers(kBatch * kHidden, 2)),
        input(numbers(gates * kHidden * kWidth, 3)),
        state(numbers(gates * kHidden * kHidden, 4)),
        input_bias(numbers(gates * kHidden, 5)),
        state_bias(numbers(gates * kHidden, 6)) {}
};

struct Outputs {
  Values out, h, c;
};

double product(const Values& w, int64_t row, const double* v, int64_t n) {
  double s = 0;
  for (int64_t i = 0; i < n; ++i) s += w[static_cast<size_t>(row * n + i)] * v[i];
  return s;
}

/// The definition. `lstm`: else a GRU.
Outputs by_hand(const Inputs& in, bool lstm, bool reverse) {
  Outputs r{Values(static_cast<size_t>(kSteps * kBatch * kHidden)), in.h0, in.c0};
  for (int64_t k = 0; k < kSteps; ++k) {
    const int64_t t = reverse ? kSteps - 1 - k : k;
    for (int64_t n = 0; n < kBatch; ++n) {
      double* h = &r.h[static_cast<size_t>(n * kHidden)];
      double* c = &r.c[static_cast<size_t>(n * kHidden)];
      const double* x = &in.x[static_cast<size_t>((t * kBatch + n) * kWidth)];
      double next[kHidden];
      for (int64_t j = 0; j < kHidden; ++j) {
        const auto given = [&](int64_t g) {
          return product(in.input, g * kHidden + j, x, kWidth) + in.input_bias[static_cast<size_t>(g * kHidden + j)];
        };
        const auto kept = [&](int64_t g) {
          return product(in.state, g * kHidden + j, h, kHidden) + in.state_bias[static_cast<size_t>(g * kHidden + j)];
        };
        if (lstm) {
          c[j] = sigmoid(given(1) + kept(1)) * c[j] + sigmoid(given(0) + kept(0)) * std::tanh(given(2) + kept(2));
          next[j] = sigmoid(given(3) + kept(3)) * std::tanh(c[j]);
        } else {
          const double reset = sigmoid(given(0) + kept(0)), update = sigmoid(given(1) + kept(1));
          next[j] = (1 - update) * std::tanh(given(2) + reset * kept(2)) + update * h[j];
        }
      }
      for (int64_t j = 0; j < kHidden; ++j) r.out[static_cast<size_t>((t * kBatch + n) * kHidden + j)] = h[j] = next[j];
    }
  }
  return r;
}

/// What the gradients are of: the sum of all that comes out, each number times another factor.
double loss(const Outputs& r, bool lstm) {
  double s = 0;
  const auto add = [&](const Values& v, const Values& factors) {
    for (size_t i = 0; i < v.size(); ++i) s += v[i] * factors[i];
  };
  add(r.out, numbers(kSteps * kBatch * kHidden, 7));
  add(r.h, numbers(kBatch * kHidden, 8));
  if (lstm) add(r.c, numbers(kBatch * kHidden, 9));
  return s;
}

class CommonRecurrent : public CommonTest {
 protected:
  struct Case {
    Array x, h0, c0;
    RecurrentWeights weights;
  };
  static Case arrays(const Inputs& in, int64_t gates) {
    return {array({kSteps, kBatch, kWidth}, in.x),
            array({kBatch, kHidden}, in.h0),
            array({kBatch, kHidden}, in.c0),
            {array({gates * kHidden, kWidth}, in.input), array({gates * kHidden, kHidden}, in.state),
             array({gates * kHidden}, in.input_bias), array({gates * kHidden}, in.state_bias)}};
  }

  static void check_grads(bool lstm, SequenceOrder order) {
    const int64_t gates = lstm ? 4 : 3;
    Inputs in(gates);
    const Case a = arrays(in, gates);
    const Array d_out = array({kSteps, kBatch, kHidden}, numbers(kSteps * kBatch * kHidden, 7)),
                dh = array({kBatch, kHidden}, numbers(kBatch * kHidden, 8)), dc = array({kBatch, kHidden}, numbers(kBatch * kHidden, 9));
    const RecurrentWanted all{true, true, true, true, true};
    const RecurrentGrads g =
        lstm ? lstm_grad(a.x, a.h0, a.c0, a.weights, common::lstm(a.x, a.h0, a.c0, a.weights, order), d_out, dh, dc, all, order)
             : gru_grad(a.x, a.h0, a.weights, gru(a.x, a.h0, a.weights, order), d_out, dh, all, order);
    const auto differences = [&](Values& v) {
      Values r;
      for (double& x : v) {
        const double before = x, step = 1e-5;
        x = before + step;
        const double up = loss(by_hand(in, lstm, order.reverse), lstm);
        x = before - step;
        r.push_back((up - loss(by_hand(in, lstm, order.reverse), lstm)) / (2 * step));
        x = before;
      }
      return r;
    };
    expect_near(g.x, differences(in.x), 1e-7);
    expect_near(g.h0, differences(in.h0), 1e-7);
    if (lstm) expect_near(g.c0, differences(in.c0), 1e-7);
    expect_near(g.input, differences(in.input), 1e-7);
    expect_near(g.state, differences(in.state), 1e-7);
    expect_near(g.input_bias, differences(in.input_bias), 1e-7);
    expect_near(g.state_bias, differences(in.state_bias), 1e-7);
  }
};
ANYGPU_ON_BACKENDS(CommonRecurrent);

TEST_P(CommonRecurrent, LstmIsItsDefinition) {
  const Inputs in(4);
  const Case a = arrays(in, 4);
  for (bool reverse : {false, true}) {
    const Outputs expected = by_hand(in, true, reverse);
    const RecurrentResult r = lstm(a.x, a.h0, a.c0, a.weights, {false, reverse});
    expect_near(r.out, expected.out);
    expect_near(r.h, expected.h);
    expect_near(r.c, expected.c);
    // The same with the batch first: other strides, other layout of what comes out.
    const RecurrentResult b = lstm(transpose(a.x, 0, 1), a.h0, a.c0, a.weights, {true, reverse});
    expect_near(transpose(b.out, 0, 1), expected.out);
    expect_near(b.h, expected.h);
  }
}

TEST_P(CommonRecurrent, GruIsItsDefinition) {
  const Inputs in(3);
  const Case a = arrays(in, 3);
  for (bool reverse : {false, true}) {
    const Outputs expected = by_hand(in, false, reverse);
    const RecurrentResult r = gru(a.x, a.h0, a.weights, {false, reverse});
    expect_near(r.out, expected.out);
    expect_near(r.h, expected.h);
    EXPECT_FALSE(r.c);
  }
}

TEST_P(CommonRecurrent, WithoutBiases) {
  Inputs in(4);
  Case a = arrays(in, 4);
  in.input_bias.assign(in.input_bias.size(), 0);
  in.state_bias.assign(in.state_bias.size(), 0);
  a.weights.input_bias = a.weights.state_bias = {};
  expect_near(lstm(a.x, a.h0, a.c0, a.weights, {}).out, by_hand(in, true, false).out);
}

TEST_P(CommonRecurrent, Gradients) {
  for (bool reverse : {false, true}) {
    check_grads(true, {false, reverse});
    check_grads(false, {false, reverse});
  }
}

TEST_P(CommonRecurrent, GradientsOfTheLastStateAlone) {
  const Inputs in(4);
  const Case a = arrays(in, 4);
  const RecurrentResult r = lstm(a.x, a.h0, a.c0, a.weights, {});
  const Array dh = array({kBatch, kHidden}, numbers(kBatch * kHidden, 8));
  Values last(static_cast<size_t>(kSteps * kBatch * kHidden), 0);
  const Values factors = numbers(kBatch * kHidden, 8);
  std::copy(factors.begin(), factors.end(), last.end() - kBatch * kHidden);
  const RecurrentWanted x_only{true, false, false, false, false};
  const RecurrentGrads by_state = lstm_grad(a.x, a.h0, a.c0, a.weights, r, {}, dh, {}, x_only, {}),
                       by_out = lstm_grad(a.x, a.h0, a.c0, a.weights, r, array({kSteps, kBatch, kHidden}, last), {}, {}, x_only, {});
  expect_near(by_state.x, values(by_out.x));
  EXPECT_FALSE(by_state.input || by_state.state || by_state.input_bias || by_state.state_bias);
}

}  // namespace
}  // namespace anygpu::common
