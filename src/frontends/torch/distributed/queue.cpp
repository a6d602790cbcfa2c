#include "queue.h"

#include <algorithm>
#include <cstring>

#include "tensor.h"

namespace anygpu::torch_frontend::distributed {

namespace {

std::string what(const std::exception_ptr& e) {
  try {
    std::rethrow_exception(e);
  } catch (const c10::Error& x) {
    return x.what_without_backtrace();
  } catch (const std::exception& x) {
    return x.what();
  } catch (...) {
    return "an unknown exception";
  }
}

}  // namespace

// ---- Task ----

std::shared_ptr<Lent> Task::lend(at::TensorList tensors, Access access, Elements elements) {
  auto lent = std::make_shared<Lent>();
  for (const at::Tensor& t : tensors) lent->loans.push_back(std::make_unique<Loaned>(t, access, elements));
  lents_.push_back(lent);
  return lent;
}

void Task::open() {
  for (const auto& lent : lents_)
    for (const auto& loan : lent->loans) lent->tensors.push_back(loan->open());
}

void Task::close() {
  for (const auto& lent : lents_) {
    lent->tensors.clear();
    for (const auto& loan : lent->loans) loan->close();
  }
}

void Task::complete(std::exception_ptr error) {
  if (error)
    for (const auto& lent : lents_)
      for (const auto& loan : lent->loans) loan->fail(what(error));
  lents_.clear();
  start = nullptr;
  end = nullptr;
  std::vector<Promise> promises;
  {
    std::lock_guard lock(mutex_);
    done_ = true;
    error_ = error;
    promises.swap(promises_);
    changed_.notify_all();
  }
  for (Promise& p : promises) keep(p);
}

void Task::keep(Promise& p) const {
  if (error_)
    p.first->setError(error_);
  else
    p.first->markCompleted(std::move(p.second));
}

bool Task::done() const {
  std::lock_guard lock(mutex_);
  return done_;
}

std::exception_ptr Task::error() const {
  std::lock_guard lock(mutex_);
  return error_;
}

bool Task::wait(std::chrono::milliseconds timeout) const {
  std::unique_lock lock(mutex_);
  if (timeout > kNoTimeout) return changed_.wait_for(lock, timeout, [&] { return done_; });
  changed_.wait(lock, [&] { return done_; });
  return true;
}

c10::intrusive_ptr<c10::ivalue::Future> Task::future(const std::vector<at::Tensor>& values) {
  Promise p{c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get())), values};
  auto future = p.first;
  {
    std::lock_guard lock(mutex_);
    if (!done_) {
      promises_.push_back(std::move(p));
      return future;
    }
  }
  keep(p);
  return future;
}

// ---- Lane ----

void Lane::push(std::shared_ptr<Task> task, WorkRef work) {
  std::lock_guard lock(mutex_);
  if (!thread_.joinable()) thread_ = std::thread([this] { loop(); });
  tasks_.emplace_back(std::move(task), std::move(work));
  changed_.notify_all();
}

void Lane::end(bool abort) {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
    for (const auto& [task, work] : tasks_)
      if (abort && work) work->abort();
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void Lane::loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return ending_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    auto [task, work] = tasks_.front();
    lock.unlock();
    std::exception_ptr error;
    try {
      if (work) TORCH_CHECK(work->wait(), "the operation was aborted");
      if (task->end) task->end();
      task->close();
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    tasks_.pop_front();
    lock.unlock();
    work.reset();
    task->complete(error);
    task.reset();
    lock.lock();
  }
}

// ---- Queue ----

Queue::~Queue() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
    changed_.notify_all();
  }
  if (starter_.joinable()) starter_.join();
  sends_.end(true);
  collectives_.end(false);
}

void Queue::push(std::shared_ptr<Task> task, Finish finish) {
  std::lock_guard lock(mutex_);
  if (!starter_.joinable()) starter_ = std::thread([this] { start_loop(); });
  waiting_.emplace_back(std::move(task), finish);
  changed_.notify_all();
}

/// Where one does not come about here, the next would meet what other ranks still have of it: nothing of this group starts any more.
void Queue::start(const std::shared_ptr<Task>& task, Finish finish) {
  TORCH_CHECK(broken_.empty(), "this group of processes cannot go on: a collective before could not start in this rank: ", broken_);
  try {
    task->open();
  } catch (...) {
    broken_ = what(std::current_exception());
    throw;
  }
  WorkRef work = task->start();
  if (finish == Finish::Caller) {
    task->close();
    task->complete(nullptr);
  } else {
    (finish == Finish::Send ? sends_ : collectives_).push(task, std::move(work));
  }
}

void Queue::start_loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return ending_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    auto [task, finish] = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    try {
      start(task, finish);
    } catch (...) {
      task->complete(std::current_exception());
    }
    task.reset();
    lock.lock();
  }
}

// ---- Works ----

bool CollectiveWork::wait(std::chrono::milliseconds timeout) {
  TORCH_CHECK(task_->wait(timeout), "Operation timed out!");
  if (const std::exception_ptr e = task_->error()) std::rethrow_exception(e);
  return true;
}

c10::intrusive_ptr<c10::ivalue::Future> CollectiveWork::getFuture() {
  std::lock_guard lock(mutex_);
  if (!future_) future_ = task_->future(results_);
  return future_;
}

bool ReceiveWork::wait(std::chrono::milliseconds timeout) {
  if (isCompleted()) {
    if (const std::exception_ptr e = exception()) std::rethrow_exception(e);
    return true;
  }
  std::exception_ptr error;
  try {
    TORCH_CHECK(task_->wait(timeout), "Operation timed out!");
    if (const std::exception_ptr e = task_->error()) std::rethrow_exception(e);
    if (!(*started_)->wait(timeout)) return false;  // aborted
    Loaned back(into_, Access::Write, Elements::Bits);
    std::memcpy(back.open().mutable_data_ptr(), host_.const_data_ptr(), host_.nbytes());
    back.close();
  } catch (...) {
    error = std::current_exception();
  }
  finishAndThrow(error);
  return true;
}

void ReceiveWork::abort() {
  if (task_->done() && *started_) (*started_)->abort();
}

bool CombinedWork::isCompleted() {
  return std::all_of(works_.begin(), works_.end(), [](const WorkRef& w) { return w->isCompleted(); });
}
bool CombinedWork::isSuccess() const {
  return std::all_of(works_.begin(), works_.end(), [](const WorkRef& w) { return w->isSuccess(); });
}
bool CombinedWork::wait(std::chrono::milliseconds timeout) {
  for (const WorkRef& w : works_)
    if (!w->wait(timeout)) return false;
  return true;
}

}  // namespace anygpu::torch_frontend::distributed
