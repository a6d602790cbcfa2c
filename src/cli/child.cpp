#include "cli/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

extern char** environ;

namespace anygpu::cli {

namespace {

constexpr size_t kOutput = 64 * 1024;

struct Running {
  pid_t pid = -1;
  int out = -1, err = -1;
  size_t told = 0;  ///< bytes of its output that were whole lines
};

Running start(const Task& task) {
  Running running;
  int out[2], err[2];
  if (::pipe2(out, O_CLOEXEC) != 0) return running;
  if (::pipe2(err, O_CLOEXEC) != 0) {
    ::close(out[0]), ::close(out[1]);
    return running;
  }
  std::vector<std::string> variables;
  for (char** entry = environ; *entry; ++entry) {
    bool replaced = false;
    for (const auto& [name, value] : task.environment) replaced |= std::string_view(*entry).starts_with(name + "=");
    if (!replaced) variables.emplace_back(*entry);
  }
  for (const auto& [name, value] : task.environment) variables.push_back(name + "=" + value);
  std::vector<std::string> arguments{task.program.empty() ? "anygpu" : task.program};
  arguments.insert(arguments.end(), task.arguments.begin(), task.arguments.end());
  const auto pointers = [](std::vector<std::string>& texts) {
    std::vector<char*> all;
    for (auto& text : texts) all.push_back(text.data());
    all.push_back(nullptr);
    return all;
  };
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  posix_spawn_file_actions_adddup2(&actions, err[1], 2);
  // A group of its own: a driver's helpers go with it.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  const char* program = task.program.empty() ? "/proc/self/exe" : task.program.c_str();
  if (::posix_spawn(&running.pid, program, &actions, &attributes, pointers(arguments).data(), pointers(variables).data()) != 0)
    running.pid = -1;
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  ::close(out[1]), ::close(err[1]);
  running.out = out[0], running.err = err[0];
  return running;
}

/// False at the end of the stream.
bool drain(int fd, std::string& text) {
  char block[4096];
  const ssize_t n = ::read(fd, block, sizeof block);
  if (n < 0) return errno == EINTR || errno == EAGAIN;
  if (n > 0 && text.size() < kOutput) text.append(block, static_cast<size_t>(n));
  return n > 0;
}

void tell(const Task& task, const std::string& out, size_t& told) {
  for (size_t end; task.on_line && (end = out.find('\n', told)) != std::string::npos; told = end + 1)
    task.on_line(out.substr(told, end - told));
}

}  // namespace

std::string Outcome::failure() const {
  if (timed_out) return "did not end in time";
  if (signal) return std::string("ended by signal ") + std::to_string(signal) + " (" + ::strsignal(signal) + ")";
  if (code < 0) return "could not be started";
  return code == 0 ? "" : "exit status " + std::to_string(code);
}

std::vector<Outcome> run_children(const std::vector<Task>& tasks, std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  std::vector<Running> running;
  for (const auto& task : tasks) running.push_back(start(task));
  std::vector<Outcome> outcomes(tasks.size());
  while (true) {
    std::vector<pollfd> waiting;
    std::vector<std::pair<int*, std::string*>> targets;
    for (size_t i = 0; i < running.size(); ++i)
      for (const auto& [fd, text] : {std::pair{&running[i].out, &outcomes[i].out}, std::pair{&running[i].err, &outcomes[i].err}})
        if (*fd >= 0) waiting.push_back({*fd, POLLIN, 0}), targets.emplace_back(fd, text);
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    if (waiting.empty() || left <= 0) break;
    if (::poll(waiting.data(), waiting.size(), static_cast<int>(left)) < 0 && errno != EINTR) break;
    for (size_t i = 0; i < waiting.size(); ++i)
      if (waiting[i].revents && !drain(*targets[i].first, *targets[i].second)) ::close(*targets[i].first), *targets[i].first = -1;
    for (size_t i = 0; i < running.size(); ++i) tell(tasks[i], outcomes[i].out, running[i].told);
  }
  for (size_t i = 0; i < running.size(); ++i) {
    auto& child = running[i];
    // Its pipes may be closed a moment before its end; one that lives on without them is stopped too.
    int status = 0;
    pid_t ended = child.pid < 0 ? -1 : 0;
    while (ended == 0) {
      ended = ::waitpid(child.pid, &status, WNOHANG);
      if (ended != 0) break;
      if (std::chrono::steady_clock::now() > deadline) {
        outcomes[i].timed_out = true;
        ::kill(-child.pid, SIGKILL);
        // One that hangs inside the kernel does not die at once: it is left to it.
        for (int n = 0; n < 20 && (ended = ::waitpid(child.pid, &status, WNOHANG)) == 0; ++n) ::usleep(10'000);
        break;
      }
      ::usleep(2'000);
    }
    if (ended > 0 && !outcomes[i].timed_out) {
      if (WIFEXITED(status)) outcomes[i].code = WEXITSTATUS(status);
      if (WIFSIGNALED(status)) outcomes[i].signal = WTERMSIG(status);
    }
    if (child.out >= 0) ::close(child.out);
    if (child.err >= 0) ::close(child.err);
  }
  return outcomes;
}

}  // namespace anygpu::cli
