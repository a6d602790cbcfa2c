#include "backend.h"

#include <Python.h>

#include "tensor.h"

namespace anygpu::torch_frontend::distributed {

namespace {

using c10d::OpType;

bool of_host(const Tensors& tensors) {
  return !tensors.empty() && tensors[0].is_cpu();
}

Tensors joined(const TensorLists& lists) {
  Tensors all;
  for (const Tensors& list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

/// The same tensors in lists as long as those of `like`.
TensorLists split_as(const Tensors& tensors, const std::vector<size_t>& lengths) {
  TensorLists lists;
  auto at = tensors.begin();
  for (const size_t n : lengths) {
    lists.emplace_back(at, at + static_cast<std::ptrdiff_t>(n));
    at += static_cast<std::ptrdiff_t>(n);
  }
  return lists;
}

std::vector<size_t> lengths_of(const TensorLists& lists) {
  std::vector<size_t> lengths;
  for (const Tensors& list : lists) lengths.push_back(list.size());
  return lengths;
}

Reduction reduction_of(const c10d::ReduceOp& op) {
  Reduction r{op, std::nullopt};
  if (op.op_ == c10d::ReduceOp::AVG) {
    r.op = c10d::ReduceOp::SUM;
    r.average = true;
  } else if (op.op_ == c10d::ReduceOp::PREMUL_SUM) {
    const auto* s = dynamic_cast<const c10d::NCCLPreMulSumSupplement*>(op.supplement_.get());
    TORCH_CHECK(s, "PREMUL_SUM without a factor");
    r.op = c10d::ReduceOp::SUM;
    r.scale = s->tensor_factor.defined() ? s->tensor_factor.item<double>() : s->double_factor;
  }
  return r;
}

/// The same options with the host's operation.
template <class Options>
Options on_host(Options opts, const Reduction& r) {
  opts.reduceOp = r.op;
  return opts;
}

/// What is reduced, scaled where the reduction asks for it. `in_place`: they are overwritten anyway.
void scale(Tensors& inputs, const Reduction& r, bool in_place) {
  if (!r.scale) return;
  for (at::Tensor& t : inputs) {
    if (in_place)
      t.mul_(*r.scale);
    else
      t = t.mul(*r.scale);
  }
}

/// The sums as they come from the host.
void average(const Tensors& sums, const Reduction& r, int64_t ranks) {
  if (!r.average) return;
  for (const at::Tensor& t : sums) {
    if (at::isIntegralType(t.scalar_type(), true))
      t.div_(ranks, "trunc");
    else
      t.div_(ranks);
  }
}

}  // namespace

Backend::Backend(c10::intrusive_ptr<c10d::Backend> host) : c10d::Backend(host->getRank(), host->getSize()), host_(std::move(host)) {
  init();
}

/// A future's callback that is under way may want Python's lock, which who destroys this may hold.
Backend::~Backend() {
  PyThreadState* held = Py_IsInitialized() && PyGILState_Check() ? PyEval_SaveThread() : nullptr;
  queue_.reset();
  if (held) PyEval_RestoreThread(held);
}

WorkRef Backend::given(WorkRef work) {
  if (coalesced_) coalesced_->push_back(work);
  return work;
}

WorkRef Backend::begin(std::shared_ptr<Task> task, Tensors results, Finish finish) {
  queue_->push(task, finish);
  return given(c10::make_intrusive<CollectiveWork>(std::move(task), rank_, std::move(results)));
}

void Backend::startCoalescing() {
  coalesced_.emplace();
}

WorkRef Backend::endCoalescing() {
  TORCH_CHECK(coalesced_, "endCoalescing without startCoalescing");
  std::vector<WorkRef> works = std::move(*coalesced_);
  coalesced_.reset();
  return c10::make_intrusive<CombinedWork>(std::move(works));
}

WorkRef Backend::broadcast(Tensors& tensors, const c10d::BroadcastOptions& opts) {
  if (of_host(tensors)) return host_->broadcast(tensors, opts);
  auto task = std::make_shared<Task>(OpType::BROADCAST);
  auto lent = task->lend(tensors, opts.rootRank == rank_ ? Access::Read : Access::Write, Elements::Bits);
  task->start = [this, lent, opts] { return host_->broadcast(lent->tensors, opts); };
  return begin(std::move(task), tensors);
}

template <class Opts>
WorkRef Backend::all_reduced(OpType type, Tensors& tensors, const Opts& opts, WorkRef (c10d::Backend::*on)(Tensors&, const Opts&)) {
  if (of_host(tensors)) return (*host_.*on)(tensors, opts);
  auto task = std::make_shared<Task>(type);
  auto lent = task->lend(tensors, Access::ReadWrite, Elements::Numbers);
  const Reduction r = reduction_of(opts.reduceOp);
  task->start = [this, lent, opts = on_host(opts, r), r, on] {
    scale(lent->tensors, r, true);
    return (*host_.*on)(lent->tensors, opts);
  };
  task->end = [this, lent, r] { average(lent->tensors, r, size_); };
  return begin(std::move(task), tensors);
}

WorkRef Backend::allreduce(Tensors& tensors, const c10d::AllreduceOptions& opts) {
  return all_reduced(OpType::ALLREDUCE, tensors, opts, &c10d::Backend::allreduce);
}

WorkRef Backend::allreduce_coalesced(Tensors& tensors, const c10d::AllreduceCoalescedOptions& opts) {
  return all_reduced(OpType::ALLREDUCE_COALESCED, tensors, opts, &c10d::Backend::allreduce_coalesced);
}

WorkRef Backend::reduce(Tensors& tensors, const c10d::ReduceOptions& opts) {
  if (of_host(tensors)) return host_->reduce(tensors, opts);
  auto task = std::make_shared<Task>(OpType::REDUCE);
  const bool root = opts.rootRank == rank_;
  auto lent = task->lend(tensors, root ? Access::ReadWrite : Access::Read, Elements::Numbers);
  const Reduction r = reduction_of(opts.reduceOp);
  task->start = [this, lent, opts = on_host(opts, r), r, root] {
    if (!root)
      for (at::Tensor& t : lent->tensors) t = t.clone();  // Gloo leaves partial results in it
    scale(lent->tensors, r, true);
    return host_->reduce(lent->tensors, opts);
  };
  task->end = [this, lent, r] { average(lent->tensors, r, size_); };
  return begin(std::move(task), tensors);
}

WorkRef Backend::all_gathered(OpType type, TensorLists& outputs, Tensors& inputs, const c10d::AllgatherOptions& opts,
                              WorkRef (c10d::Backend::*on)(TensorLists&, Tensors&, const c10d::AllgatherOptions&)) {
  if (of_host(inputs)) return (*host_.*on)(outputs, inputs, opts);
  auto task = std::make_shared<Task>(type);
  auto in = task->lend(inputs, Access::Read, Elements::Bits);
  auto out = task->lend(joined(outputs), Access::Write, Elements::Bits);
  task->start = [this, in, out, opts, on, lengths = lengths_of(outputs)] {
    TensorLists lists = split_as(out->tensors, lengths);
    return (*host_.*on)(lists, in->tensors, opts);
  };
  return begin(std::move(task), joined(outputs));
}

WorkRef Backend::allgather(TensorLists& outputs, Tensors& inputs, const c10d::AllgatherOptions& opts) {
  return all_gathered(OpType::ALLGATHER, outputs, inputs, opts, &c10d::Backend::allgather);
}

WorkRef Backend::allgather_coalesced(TensorLists& outputs, Tensors& inputs, const c10d::AllgatherOptions& opts) {
  return all_gathered(OpType::ALLGATHER_COALESCED, outputs, inputs, opts, &c10d::Backend::allgather_coalesced);
}

WorkRef Backend::_allgather_base(at::Tensor& output, at::Tensor& input, const c10d::AllgatherOptions& opts) {
  if (input.is_cpu()) return host_->_allgather_base(output, input, opts);
  TORCH_CHECK(output.numel() == input.numel() * size_, "output tensor size must be equal to world_size times input tensor size");
  auto task = std::make_shared<Task>(OpType::_ALLGATHER_BASE);
  auto in = task->lend(input, Access::Read, Elements::Bits);
  auto out = task->lend(output, Access::Write, Elements::Bits);
  task->start = [this, in, out, opts] {
    TensorLists parts{out->tensors[0].view({-1}).chunk(size_)};
    Tensors from{in->tensors[0].view({-1})};
    return host_->allgather(parts, from, opts);
  };
  return begin(std::move(task), {output});
}

WorkRef Backend::allgather_into_tensor_coalesced(Tensors& outputs, Tensors& inputs, const c10d::AllgatherOptions& opts) {
  if (of_host(inputs)) return host_->allgather_into_tensor_coalesced(outputs, inputs, opts);
  TORCH_CHECK(outputs.size() == inputs.size(), "as many outputs as inputs are wanted, but got ", outputs.size(), " and ", inputs.size());
  std::vector<WorkRef> works;
  for (size_t i = 0; i < inputs.size(); ++i) works.push_back(_allgather_base(outputs[i], inputs[i], opts));
  return c10::make_intrusive<CombinedWork>(std::move(works));
}

WorkRef Backend::gather(TensorLists& outputs, Tensors& inputs, const c10d::GatherOptions& opts) {
  if (of_host(inputs)) return host_->gather(outputs, inputs, opts);
  auto task = std::make_shared<Task>(OpType::GATHER);
  auto in = task->lend(inputs, Access::Read, Elements::Bits);
  auto out = task->lend(joined(outputs), Access::Write, Elements::Bits);
  task->start = [this, in, out, opts, lengths = lengths_of(outputs)] {
    TensorLists lists = split_as(out->tensors, lengths);
    return host_->gather(lists, in->tensors, opts);
  };
  return begin(std::move(task), joined(outputs));
}

WorkRef Backend::scatter(Tensors& outputs, TensorLists& inputs, const c10d::ScatterOptions& opts) {
  if (of_host(outputs)) return host_->scatter(outputs, inputs, opts);
  auto task = std::make_shared<Task>(OpType::SCATTER);
  auto in = task->lend(joined(inputs), Access::Read, Elements::Bits);
  auto out = task->lend(outputs, Access::Write, Elements::Bits);
  task->start = [this, in, out, opts, lengths = lengths_of(inputs)] {
    TensorLists lists = split_as(in->tensors, lengths);
    return host_->scatter(out->tensors, lists, opts);
  };
  return begin(std::move(task), outputs);
}

WorkRef Backend::reduce_scatter(Tensors& outputs, TensorLists& inputs, const c10d::ReduceScatterOptions& opts) {
  if (of_host(outputs)) return host_->reduce_scatter(outputs, inputs, opts);
  auto task = std::make_shared<Task>(OpType::REDUCE_SCATTER);
  auto in = task->lend(joined(inputs), Access::Read, Elements::Numbers);
  auto out = task->lend(outputs, Access::Write, Elements::Numbers);
  const Reduction r = reduction_of(opts.reduceOp);
  task->start = [this, in, out, opts = on_host(opts, r), r, lengths = lengths_of(inputs)] {
    scale(in->tensors, r, false);
    TensorLists lists = split_as(in->tensors, lengths);
    return host_->reduce_scatter(out->tensors, lists, opts);
  };
  task->end = [this, out, r] { average(out->tensors, r, size_); };
  return begin(std::move(task), outputs);
}

WorkRef Backend::_reduce_scatter_base(at::Tensor& output, at::Tensor& input, const c10d::ReduceScatterOptions& opts) {
  if (input.is_cpu()) return host_->_reduce_scatter_base(output, input, opts);
  TORCH_CHECK(input.numel() == output.numel() * size_, "input tensor must be the same size as output size times world size");
  auto task = std::make_shared<Task>(OpType::_REDUCE_SCATTER_BASE);
  auto in = task->lend(input, Access::Read, Elements::Numbers);
  auto out = task->lend(output, Access::Write, Elements::Numbers);
  const Reduction r = reduction_of(opts.reduceOp);
  task->start = [this, in, out, opts = on_host(opts, r), r] {
    scale(in->tensors, r, false);
    return host_->_reduce_scatter_base(out->tensors[0], in->tensors[0], opts);
  };
  task->end = [this, out, r] { average(out->tensors, r, size_); };
  return begin(std::move(task), {output});
}

WorkRef Backend::reduce_scatter_tensor_coalesced(Tensors& outputs, Tensors& inputs, const c10d::ReduceScatterOptions& opts) {
  if (of_host(inputs)) return host_->reduce_scatter_tensor_coalesced(outputs, inputs, opts);
  TORCH_CHECK(outputs.size() == inputs.size(), "as many outputs as inputs are wanted, but got ", outputs.size(), " and ", inputs.size());
  std::vector<WorkRef> works;
  for (size_t i = 0; i < inputs.size(); ++i) works.push_back(_reduce_scatter_base(outputs[i], inputs[i], opts));
  return c10::make_intrusive<CombinedWork>(std::move(works));
}

WorkRef Backend::alltoall_base(at::Tensor& output, at::Tensor& input, std::vector<int64_t>& output_splits,
                               std::vector<int64_t>& input_splits, const c10d::AllToAllOptions& opts) {
  if (input.is_cpu()) return host_->alltoall_base(output, input, output_splits, input_splits, opts);
  auto task = std::make_shared<Task>(OpType::ALLTOALL_BASE);
  auto in = task->lend(input, Access::Read, Elements::Bits);
  auto out = task->lend(output, Access::Write, Elements::Bits);
  task->start = [this, in, out, opts, output_splits, input_splits]() mutable {
    return host_->alltoall_base(out->tensors[0], in->tensors[0], output_splits, input_splits, opts);
  };
  return begin(std::move(task), {output});
}

WorkRef Backend::alltoall(Tensors& outputs, Tensors& inputs, const c10d::AllToAllOptions& opts) {
  if (of_host(inputs)) return host_->alltoall(outputs, inputs, opts);
  auto task = std::make_shared<Task>(OpType::ALLTOALL);
  auto in = task->lend(inputs, Access::Read, Elements::Bits);
  auto out = task->lend(outputs, Access::Write, Elements::Bits);
  task->start = [this, in, out, opts] { return host_->alltoall(out->tensors, in->tensors, opts); };
  return begin(std::move(task), outputs);
}

WorkRef Backend::send(Tensors& tensors, int to, int tag) {
  if (of_host(tensors)) return host_->send(tensors, to, tag);
  auto task = std::make_shared<Task>(OpType::SEND);
  auto lent = task->lend(tensors, Access::Read, Elements::Bits);
  task->start = [this, lent, to, tag] {
    for (at::Tensor& t : lent->tensors) t = t.clone();
    for (const auto& loan : lent->loans) loan->close();  // given back at once: nobody need ever wait for a send
    return host_->send(lent->tensors, to, tag);
  };
  return begin(std::move(task), tensors, Finish::Send);
}

WorkRef Backend::receive(Tensors& tensors, OpType type, std::function<WorkRef(Tensors&)> start) {
  TORCH_CHECK(tensors.size() == 1 && is_anygpu(tensors[0]), "one tensor of anygpu is received at a time");
  auto task = std::make_shared<Task>(type);
  const at::Tensor host = at::empty({static_cast<int64_t>(tensors[0].nbytes())}, at::TensorOptions().dtype(at::kByte));
  auto started = std::make_shared<WorkRef>();
  task->start = [host, started, start = std::move(start)]() -> WorkRef {
    Tensors into{host};
    *started = start(into);
    return nullptr;
  };
  queue_->push(task, Finish::Caller);
  return given(c10::make_intrusive<ReceiveWork>(std::move(task), rank_, std::move(started), host, tensors[0]));
}

WorkRef Backend::recv(Tensors& tensors, int from, int tag) {
  if (of_host(tensors)) return host_->recv(tensors, from, tag);
  return receive(tensors, OpType::RECV, [this, from, tag](Tensors& into) { return host_->recv(into, from, tag); });
}

WorkRef Backend::recvAnysource(Tensors& tensors, int tag) {
  if (of_host(tensors)) return host_->recvAnysource(tensors, tag);
  return receive(tensors, OpType::RECVANYSOURCE, [this, tag](Tensors& into) { return host_->recvAnysource(into, tag); });
}

WorkRef Backend::barrier(const c10d::BarrierOptions& opts) {
  auto task = std::make_shared<Task>(OpType::BARRIER);
  task->start = [this, opts] { return host_->barrier(opts); };
  return begin(std::move(task), {});
}

void Backend::monitoredBarrier(const c10d::BarrierOptions& opts, bool wait_all_ranks) {
  auto task = std::make_shared<Task>(OpType::BARRIER);
  task->start = [this, opts, wait_all_ranks]() -> WorkRef {
    host_->monitoredBarrier(opts, wait_all_ranks);
    return nullptr;
  };
  begin(std::move(task), {})->wait();
}

}  // namespace anygpu::torch_frontend::distributed
