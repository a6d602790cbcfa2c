// What PyTorch's distributed package calls for tensors of this device: every collective, over a backend for CPU tensors (Gloo).
#pragma once

#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "queue.h"

namespace anygpu::torch_frontend::distributed {

using Tensors = std::vector<at::Tensor>;
using TensorLists = std::vector<std::vector<at::Tensor>>;

/// A reduction as the host does it: scaled before, divided after.
struct Reduction {
  c10d::ReduceOp op;            ///< one that Gloo knows
  std::optional<double> scale;  ///< of PREMUL_SUM
  bool average = false;
};

/// Calls return at once; a Queue carries them out. CPU tensors go to the host's backend as they are.
class Backend final : public c10d::Backend {
 public:
  /// `host`: a backend for CPU tensors that nothing else uses, so that all processes call it in the same order.
  explicit Backend(c10::intrusive_ptr<c10d::Backend> host);
  ~Backend() override;

  const std::string getBackendName() const override { return "anygpu"; }
  c10::intrusive_ptr<Options> getBackendOptions() override { return host_->getBackendOptions(); }
  void setTimeout(std::chrono::milliseconds t) override { host_->setTimeout(t); }
  void setSequenceNumberForGroup() override { host_->setSequenceNumberForGroup(); }
  uint64_t getSequenceNumberForGroup() override { return host_->getSequenceNumberForGroup(); }
  void abort() override { host_->abort(); }
  void shutdown() override { host_->shutdown(); }

  bool supportsCoalescing() const override { return true; }
  void startCoalescing() override;
  WorkRef endCoalescing() override;

  WorkRef broadcast(Tensors&, const c10d::BroadcastOptions&) override;
  WorkRef allreduce(Tensors&, const c10d::AllreduceOptions&) override;
  WorkRef allreduce_coalesced(Tensors&, const c10d::AllreduceCoalescedOptions&) override;
  WorkRef reduce(Tensors&, const c10d::ReduceOptions&) override;
  WorkRef allgather(TensorLists& outputs, Tensors& inputs, const c10d::AllgatherOptions&) override;
  WorkRef _allgather_base(at::Tensor& output, at::Tensor& input, const c10d::AllgatherOptions&) override;
  WorkRef allgather_coalesced(TensorLists& outputs, Tensors& inputs, const c10d::AllgatherOptions&) override;
  WorkRef allgather_into_tensor_coalesced(Tensors& outputs, Tensors& inputs, const c10d::AllgatherOptions&) override;
  WorkRef gather(TensorLists& outputs, Tensors& inputs, const c10d::GatherOptions&) override;
  WorkRef scatter(Tensors& outputs, TensorLists& inputs, const c10d::ScatterOptions&) override;
  WorkRef reduce_scatter(Tensors& outputs, TensorLists& inputs, const c10d::ReduceScatterOptions&) override;
  WorkRef _reduce_scatter_base(at::Tensor& output, at::Tensor& input, const c10d::ReduceScatterOptions&) override;
  WorkRef reduce_scatter_tensor_coalesced(Tensors& outputs, Tensors& inputs, const c10d::ReduceScatterOptions&) override;
  WorkRef alltoall_base(at::Tensor& output, at::Tensor& input, std::vector<int64_t>& output_splits, std::vector<int64_t>& input_splits,
                        const c10d::AllToAllOptions&) override;
  WorkRef alltoall(Tensors& outputs, Tensors& inputs, const c10d::AllToAllOptions&) override;
  WorkRef send(Tensors&, int to, int tag) override;
  WorkRef recv(Tensors&, int from, int tag) override;
  WorkRef recvAnysource(Tensors&, int tag) override;
  WorkRef barrier(const c10d::BarrierOptions&) override;
  void monitoredBarrier(const c10d::BarrierOptions&, bool wait_all_ranks) override;

 private:
  WorkRef begin(std::shared_ptr<Task>, Tensors results, Finish = Finish::Collective);
  /// all_reduce and all_gather, of one tensor or of several at once: `on` is the host's function.
  template <class Opts>
  WorkRef all_reduced(c10d::OpType, Tensors&, const Opts&, WorkRef (c10d::Backend::*on)(Tensors&, const Opts&));
  WorkRef all_gathered(c10d::OpType, TensorLists& outputs, Tensors& inputs, const c10d::AllgatherOptions&,
                       WorkRef (c10d::Backend::*on)(TensorLists&, Tensors&, const c10d::AllgatherOptions&));
  WorkRef receive(Tensors&, c10d::OpType, std::function<WorkRef(Tensors&)> start);
  WorkRef given(WorkRef);

  const c10::intrusive_ptr<c10d::Backend> host_;
  std::unique_ptr<Queue> queue_ = std::make_unique<Queue>();
  std::optional<std::vector<WorkRef>> coalesced_;
};

}  // namespace anygpu::torch_frontend::distributed
