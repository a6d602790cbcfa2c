// Connectionist temporal classification.
#include "anygpu/calls/loss.h"
#include "structured.h"

namespace anygpu::torch_frontend {
namespace {

using at::IntArrayRef;
using at::Tensor;

/// What the catalogue wants to know of a batch, checked as PyTorch does.
struct Batch {
  Tensor labels, starts, input_lengths, target_lengths;
  int64_t longest = 0;  ///< the longest target

  Batch(const Tensor& log_probs, const Tensor& targets, IntArrayRef inputs, IntArrayRef lengths, int64_t blank) {
    TORCH_CHECK(log_probs.dim() == 3, "expected log_probs of 3 dimensions, got ", log_probs.dim());
    want_float(log_probs);
    if (log_probs.scalar_type() != at::kFloat && log_probs.scalar_type() != at::kDouble) throw Refused("ctc_loss of halves");
    TORCH_CHECK(targets.scalar_type() == at::kLong || targets.scalar_type() == at::kInt, "expected targets of type Long or Int, got ",
                targets.scalar_type());
    const int64_t n = log_probs.size(1);
    TORCH_CHECK(log_probs.numel() > 0, "log_probs tensor must not be empty");
    TORCH_CHECK(blank >= 0 && blank < log_probs.size(2), "blank must be in label range");
    TORCH_CHECK(static_cast<int64_t>(inputs.size()) == n, "input_lengths must be of size batch_size");
    TORCH_CHECK(static_cast<int64_t>(lengths.size()) == n, "target_lengths must be of size batch_size");
    TORCH_CHECK(targets.dim() == 1 || targets.dim() == 2, "targets must be of 1 or 2 dimensions");
    for (size_t i = 0; i < lengths.size(); ++i) {
      TORCH_CHECK(lengths[i] >= 0, "Expected target_lengths to have value at least 0, but got value ", lengths[i]);
      TORCH_CHECK(inputs[i] >= 0, "Expected input_lengths to have value at least 0, but got value ", inputs[i]);
      TORCH_CHECK(inputs[i] <= log_probs.size(0), "Expected input_lengths to have value at most ", log_probs.size(0), ", but got value ",
                  inputs[i]);
    }
    const calls::CtcStarts row = calls::ctc_starts({lengths.data(), lengths.size()}, targets.dim() == 2 ? targets.size(1) : 0);
    longest = row.longest;
    TORCH_CHECK(targets.dim() == 2 || targets.size(0) == row.total, "Expected targets to have size ", row.total, " at dimension 0, but got size ",
                targets.size(0));
    TORCH_CHECK(targets.dim() == 1 || (targets.size(0) == n && targets.size(1) >= longest), "Expected targets to have size at least ",
                longest, " at dimension 1, but got ", targets.sizes());
    labels = targets.contiguous().view({-1});
    const auto upload = [&](at::ArrayRef<int64_t> v) { return at::tensor(v, at::kLong).to(log_probs.device()); };
    starts = upload(row.starts);
    input_lengths = upload(inputs);
    target_lengths = upload(lengths);
  }
};

std::tuple<Tensor, Tensor> ctc_loss(const Tensor& log_probs, const Tensor& targets, IntArrayRef inputs, IntArrayRef lengths, int64_t blank,
                                    bool zero_infinity) {
  const Batch b(log_probs, targets, inputs, lengths, blank);
  Tensor loss = empty({log_probs.size(1)}, log_probs), alpha = empty({log_probs.size(1), log_probs.size(0), 2 * b.longest + 1}, log_probs);
  record(calls::CtcLoss{.loss = loss,
                        .log_alpha = alpha,
                        .log_probs = log_probs,
                        .labels = b.labels,
                        .starts = b.starts,
                        .input_lengths = b.input_lengths,
                        .target_lengths = b.target_lengths,
                        .blank = blank});
  return {loss, alpha};
}

Tensor ctc_loss_backward(const Tensor& grad, const Tensor& log_probs, const Tensor& targets, IntArrayRef inputs, IntArrayRef lengths,
                         const Tensor& loss, const Tensor& alpha, int64_t blank, bool zero_infinity) {
  const Batch b(log_probs, targets, inputs, lengths, blank);
  Tensor dx = empty(log_probs.sizes(), log_probs);
  record(calls::CtcLossGrad{.dlog_probs = dx,
                            .dloss = grad,
                            .loss = loss,
                            .log_alpha = alpha,
                            .log_probs = log_probs,
                            .labels = b.labels,
                            .starts = b.starts,
                            .input_lengths = b.input_lengths,
                            .target_lengths = b.target_lengths,
                            .zero_infinity = zero_infinity,
                            .blank = blank});
  return dx;
}

std::vector<int64_t> to_host(const Tensor& lengths) {
  TORCH_CHECK(at::isIntegralType(lengths.scalar_type(), false), "lengths must be integral");
  const Tensor t = lengths.to(at::kCPU, at::kLong).contiguous();
  return {t.const_data_ptr<int64_t>(), t.const_data_ptr<int64_t>() + t.numel()};
}

std::tuple<Tensor, Tensor> ctc_loss_tensor(const Tensor& log_probs, const Tensor& targets, const Tensor& inputs, const Tensor& lengths,
                                           int64_t blank, bool zero_infinity) {
  return ctc_loss(log_probs, targets, to_host(inputs), to_host(lengths), blank, zero_infinity);
}
Tensor ctc_loss_backward_tensor(const Tensor& grad, const Tensor& log_probs, const Tensor& targets, const Tensor& inputs,
                                const Tensor& lengths, const Tensor& loss, const Tensor& alpha, int64_t blank, bool zero_infinity) {
  return ctc_loss_backward(grad, log_probs, targets, to_host(inputs), to_host(lengths), loss, alpha, blank, zero_infinity);
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  on<at::_ops::_ctc_loss, ctc_loss>(m);
  on<at::_ops::_ctc_loss_Tensor, ctc_loss_tensor>(m);
  on<at::_ops::_ctc_loss_backward, ctc_loss_backward>(m);
  on<at::_ops::_ctc_loss_backward_Tensor, ctc_loss_backward_tensor>(m);
}

}  // namespace
}  // namespace anygpu::torch_frontend
