// Collectives under way. Each group of processes has one Queue: a thread that starts what was asked for, in that order, as soon as the
// device has computed what it needs, and one that finishes it. Meanwhile the device, and who asked, go on.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <torch/csrc/distributed/c10d/Work.hpp>

#include "loaned.h"

namespace anygpu::torch_frontend::distributed {

using WorkRef = c10::intrusive_ptr<c10d::Work>;

/// What one operand of a collective has become on the host. `tensors` are there while it runs.
struct Lent {
  std::vector<std::unique_ptr<Loaned>> loans;
  std::vector<at::Tensor> tensors;
};

/// One collective. It holds no tensor of the device: those belong to who asked, so that what is dead stays a function of the program.
class Task {
 public:
  explicit Task(c10d::OpType type) : type(type) {}

  /// Lends tensors; what start() finds in the result are CPU tensors.
  std::shared_ptr<Lent> lend(at::TensorList, Access, Elements);

  const c10d::OpType type;
  std::function<WorkRef()> start;  ///< on the host's tensors; may return null: nothing to wait for
  std::function<void()> end;       ///< after that has completed; may be empty

  void open();
  void close();
  /// Gives all back and tells who waits. `error`: null, or what went wrong.
  void complete(std::exception_ptr error);

  bool done() const;
  std::exception_ptr error() const;
  /// Blocks. Returns false where it is not done in that time; zero: for ever.
  bool wait(std::chrono::milliseconds) const;
  /// A future of these values, completed with the task.
  c10::intrusive_ptr<c10::ivalue::Future> future(const std::vector<at::Tensor>& values);

 private:
  using Promise = std::pair<c10::intrusive_ptr<c10::ivalue::Future>, std::vector<at::Tensor>>;
  void keep(Promise&) const;

  std::vector<std::shared_ptr<Lent>> lents_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  bool done_ = false;
  std::exception_ptr error_;
  std::vector<Promise> promises_;
};

/// Tasks that have started, finished one after the other by a thread of its own.
class Lane {
 public:
  void push(std::shared_ptr<Task>, WorkRef);
  /// Returns when all are finished. `abort`: what has not come about by now never will.
  void end(bool abort);

 private:
  void loop();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<std::shared_ptr<Task>, WorkRef>> tasks_;  // the first is being finished
  bool ending_ = false;
  std::thread thread_;
};

/// Who finishes a task that has started. Sends have a lane of their own: they pass when their peer asks, which may be after a collective.
enum class Finish { Collective, Send, Caller };

class Queue {
 public:
  Queue() = default;
  /// Ends what is under way.
  ~Queue();
  Queue(const Queue&) = delete;
  /// Started after all that was pushed before. Finish::Caller: complete as soon as it has started.
  void push(std::shared_ptr<Task>, Finish);

 private:
  void start_loop();
  void start(const std::shared_ptr<Task>&, Finish);

  std::string broken_;  // why nothing starts any more; of the starter
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<std::shared_ptr<Task>, Finish>> waiting_;
  bool ending_ = false;
  std::thread starter_;
  Lane collectives_, sends_;
};

/// A collective as c10d sees it: who waits is blocked until its results are in the device's memory.
class CollectiveWork final : public c10d::Work {
 public:
  CollectiveWork(std::shared_ptr<Task> task, int rank, std::vector<at::Tensor> results)
      : Work(rank, task->type), task_(std::move(task)), results_(std::move(results)) {}

  bool isCompleted() override { return task_->done(); }
  bool isSuccess() const override { return task_->done() && !task_->error(); }
  std::exception_ptr exception() const override { return task_->error(); }
  bool wait(std::chrono::milliseconds timeout) override;
  void synchronize() override { wait(kNoTimeout); }
  std::vector<at::Tensor> result() override { return results_; }
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override;

 private:
  const std::shared_ptr<Task> task_;
  const std::vector<at::Tensor> results_;
  c10::intrusive_ptr<c10::ivalue::Future> future_;
};

/// A receive: it passes when its peer sends, in whatever order, so only who waits finishes it.
class ReceiveWork final : public c10d::Work {
 public:
  /// `started`: where start() leaves the host's Work, which receives into `host`; that is then moved `into` the tensor.
  ReceiveWork(std::shared_ptr<Task> task, int rank, std::shared_ptr<WorkRef> started, at::Tensor host, at::Tensor into)
      : Work(rank, task->type), task_(std::move(task)), started_(std::move(started)), host_(std::move(host)), into_(std::move(into)) {}

  bool wait(std::chrono::milliseconds timeout) override;
  int sourceRank() const override { return *started_ ? (*started_)->sourceRank() : -1; }
  void abort() override;

 private:
  const std::shared_ptr<Task> task_;
  const std::shared_ptr<WorkRef> started_;
  const at::Tensor host_, into_;
};

/// Several as one.
class CombinedWork final : public c10d::Work {
 public:
  explicit CombinedWork(std::vector<WorkRef> works) : Work(-1, c10d::OpType::COALESCED), works_(std::move(works)) {}
  bool isCompleted() override;
  bool isSuccess() const override;
  bool wait(std::chrono::milliseconds timeout) override;

 private:
  const std::vector<WorkRef> works_;
};

}  // namespace anygpu::torch_frontend::distributed
