// Whole recurrent layers: what Keras's LSTM and GRU become where there is a device of type GPU.
#include "frontends/common/recurrent.h"

#include "../kernel.h"

namespace anygpu::tensorflow_frontend {

namespace {

using common::RecurrentResult;
using common::RecurrentWeights;

/// One layer of one direction. Its parameters are one vector: input weights gate by gate [H, I], state weights [H, H], then the biases of
/// both [H]. An LSTM's gates are input, forget, cell, output; a GRU's are update, reset, new, as Keras orders them for a TensorFlow without
/// CUDA.
struct Layer {
  bool lstm, time_major;

  explicit Layer(const Node& node) : lstm(node.attr<std::string>("rnn_mode") == "lstm"), time_major(node.attr<bool>("time_major")) {
    const auto mode = node.attr<std::string>("rnn_mode"), direction = node.attr<std::string>("direction");
    if ((mode != "lstm" && mode != "gru") || direction != "unidirectional" || node.attr<float>("dropout") != 0 ||
        node.attr<int64_t>("num_proj") != 0)
      throw Refusal(absl::UnimplementedError("CudnnRNNV3 on anygpu: " + mode + ", " + direction +
                                             ": only lstm and gru of one direction, without dropout and projection"));
  }
  int64_t gates() const { return lstm ? 4 : 3; }
  static constexpr int64_t kKept = 5;  ///< numbers a state that the gradient needs
  common::SequenceOrder order() const { return {.batch_first = !time_major}; }
  int64_t steps(const Array& x) const { return x.sizes[time_major ? 0 : 1]; }
  int64_t batch(const Array& x) const { return x.sizes[time_major ? 1 : 0]; }

  void check(Call& c, const Array& x, const Array& h, const Array& params) const {
    require(x.rank() == 3, "RNN input must be a 3-D vector.");
    require(h.rank() == 3 && h.sizes[time_major ? 0 : 1] == 1 && h.sizes[time_major ? 1 : 0] == batch(x),
            "Invalid input_h shape: ", c.context.input(1).shape().DebugString());
    const int64_t width = h.sizes[2], wanted = gates() * width * (x.sizes[2] + width + 2);
    require(params.elements() == wanted, "CudnnRNNV3 on anygpu: params of ", params.elements(), " numbers, where one layer has ", wanted);
    for (int64_t n : c.host_list(4))
      if (n != steps(x))
        throw Refusal(absl::UnimplementedError("CudnnRNNV3 on anygpu: sequences of different lengths (a mask); use_cudnn=False does them"));
  }
};

/// Without the dimension of layers, [N, H].
Array state(const Array& h) {
  Array r = h;
  r.sizes = {h.elements() / h.sizes.back(), h.sizes.back()};
  r.strides = contiguous_strides(r.sizes);
  return r;
}

/// Consecutive parts of a vector.
class Cut {
 public:
  explicit Cut(const Array& vector) : rest_(vector) {}
  Array next(const Dims& sizes) {
    Array part = rest_;
    part.sizes = sizes;
    part.strides = contiguous_strides(sizes);
    rest_.offset += product(sizes);
    return part;
  }

 private:
  Array rest_;
};

/// The first two gates of [G H, ..] in the other order.
Array gates_swapped(const Array& w) {
  const int64_t h = w.sizes[0] / 3;
  return common::concatenate({common::narrow(w, 0, h, h), common::narrow(w, 0, 0, h), common::narrow(w, 0, 2 * h, h)}, 0);
}

/// As common::lstm and gru want them.
RecurrentWeights weights_in(const Layer& layer, const Array& params, int64_t width, int64_t hidden) {
  const int64_t rows = layer.gates() * hidden;
  Cut cut(params);
  RecurrentWeights w;
  w.input = cut.next({rows, width});
  w.state = cut.next({rows, hidden});
  w.input_bias = cut.next({rows});
  w.state_bias = cut.next({rows});
  if (!layer.lstm)
    for (Array* a : {&w.input, &w.state, &w.input_bias, &w.state_bias}) *a = gates_swapped(*a);
  return w;
}

/// What the gradient needs, in the vector `reserve`: [cells], active.
void exchange(const Layer& layer, const Array& reserve, RecurrentResult& r, const Dims& states, bool write) {
  Cut cut(reserve);
  Dims wide = states;
  wide[2] *= layer.lstm ? 4 : 5;
  const auto one = [&](Array& a, const Dims& sizes) {
    const Array part = cut.next(sizes);
    if (write)
      common::copy_to(part, a);
    else
      a = part;
  };
  if (layer.lstm) one(r.cells, states);
  one(r.active, wide);
}

Body forward(const Node& node) {
  return [layer = Layer(node)](Call& c) {
    const Array x = c.in(0), h0 = c.in(1), c0 = c.in(2), params = c.in(3);
    layer.check(c, x, h0, params);
    const int64_t hidden = h0.sizes[2], n = layer.steps(x) * layer.batch(x) * hidden;
    Dims states = x.sizes;
    states[2] = hidden;
    const Array y = c.out(0, states), h = c.out(1, h0.sizes), cell = c.out(2, layer.lstm ? h0.sizes : Dims{});
    const Array reserve = c.out(3, {Layer::kKept * n});
    tf::Tensor* none = nullptr;
    if (absl::Status s = c.context.allocate_output(4, tf::TensorShape({0}), &none); !s.ok()) throw Refusal(s);
    if (n == 0) return;
    c.record([=] {
      const RecurrentWeights w = weights_in(layer, params, x.sizes[2], hidden);
      RecurrentResult r =
          layer.lstm ? common::lstm(x, state(h0), state(c0), w, layer.order()) : common::gru(x, state(h0), w, layer.order());
      common::copy_to(y, r.out);
      common::copy_to(state(h), r.h);
      if (layer.lstm)
        common::copy_to(state(cell), r.c);
      else
        record(calls::fill(cell, 0.0));
      exchange(layer, reserve, r, states, true);
    });
  };
}

Body backward(const Node& node) {
  return [layer = Layer(node)](Call& c) {
    const Array x = c.in(0), h0 = c.in(1), c0 = c.in(2), params = c.in(3), y = c.in(5), dy = c.in(8), dh = c.in(9), dc = c.in(10),
                reserve = c.in(11);
    layer.check(c, x, h0, params);
    const Array dx = c.out(0, x.sizes), dh0 = c.out(1, h0.sizes), dc0 = c.out(2, c0.sizes), dparams = c.out(3, params.sizes);
    if (dparams.elements() == 0) return;
    c.record([=] {
      if (y.elements() == 0) return record(calls::fill(dparams, 0.0));
      const int64_t hidden = h0.sizes[2];
      const RecurrentWeights w = weights_in(layer, params, x.sizes[2], hidden);
      RecurrentResult r;
      r.out = y;
      exchange(layer, reserve, r, y.sizes, false);
      const common::RecurrentWanted all{true, true, true, true, true};
      common::RecurrentGrads g = layer.lstm ? common::lstm_grad(x, state(h0), state(c0), w, r, dy, state(dh), state(dc), all, layer.order())
                                            : common::gru_grad(x, state(h0), w, r, dy, state(dh), all, layer.order());
      common::copy_to(dx, g.x);
      common::copy_to(state(dh0), g.h0);
      if (layer.lstm)
        common::copy_to(state(dc0), g.c0);
      else if (dc0.elements())
        record(calls::fill(dc0, 0.0));
      Cut cut(dparams);
      for (Array* a : {&g.input, &g.state, &g.input_bias, &g.state_bias})
        common::copy_to(cut.next(a->sizes), layer.lstm ? *a : gates_swapped(*a));
    });
  };
}

}  // namespace

void register_recurrent() {
  add("CudnnRNNV3", {{"T", kFloats}}, {"sequence_lengths", "host_reserved"}, forward);
  add("CudnnRNNBackpropV3", {{"T", kFloats}}, {"sequence_lengths", "host_reserved"}, backward);
}

}  // namespace anygpu::tensorflow_frontend
