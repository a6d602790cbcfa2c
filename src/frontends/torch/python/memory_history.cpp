// memory_history.h for Python: what torch.anygpu.memory._snapshot() is made of.
#include "memory_history.h"

#include <torch/csrc/profiler/python/combined_traceback.h>

#include "python/module.h"

namespace anygpu::torch_frontend {
namespace {

using namespace memory_history;

/// Stacks in, lists of {filename, line, name} out; an empty list for none.
class Frames {
 public:
  /// A place in the answers.
  size_t ask(const Stack& s) {
    asked_.push_back(s);
    return asked_.size() - 1;
  }
  void answer() {
    std::vector<torch::CapturedTraceback*> known;
    for (const Stack& s : asked_)
      if (s) known.push_back(s.get());
    std::vector<py::object> found = torch::py_symbolize(known);
    size_t n = 0;
    for (const Stack& s : asked_) answers_.push_back(s ? found[n++] : py::list());
  }
  py::object operator[](size_t i) const { return answers_[i]; }

 private:
  std::vector<Stack> asked_;
  std::vector<py::object> answers_;
};

/// (live, events by device): tuples of address, bytes, room, device, frames; and of action, address, bytes, time in us, bytes left, frames.
py::tuple snapshot(bool with_events) {
  const std::vector<Live> now = live();
  const std::vector<std::vector<Event>> past = with_events ? events() : std::vector<std::vector<Event>>();
  Frames frames;
  for (const Live& l : now) frames.ask(l.stack);
  for (const auto& device : past)
    for (const Event& e : device) frames.ask(e.stack);
  frames.answer();
  size_t i = 0;
  py::list live_list, past_list;
  for (const Live& l : now) live_list.append(py::make_tuple(l.address, l.bytes, l.room, static_cast<int>(l.device), frames[i++]));
  for (const auto& device : past) {
    py::list list;
    for (const Event& e : device) {
      const char* action = e.action == Event::Alloc ? "alloc" : e.action == Event::Free ? "free" : "oom";
      list.append(py::make_tuple(action, e.address, e.bytes, e.time_us, e.left, frames[i++]));
    }
    past_list.append(list);
  }
  return py::make_tuple(live_list, past_list);
}

}  // namespace

void define_memory_history(py::module_& m) {
  m.def("record_memory_history",
        [](bool live, bool events, bool live_stack, bool alloc_stack, bool free_stack, bool cpp, size_t most_events, bool forget) {
          torch::installCapturedTracebackPython();
          record({live, events, live_stack, alloc_stack, free_stack, cpp, most_events}, forget);
        });
  m.def("memory_snapshot", &snapshot);
  m.def("allocation_traceback", [](uint64_t address) -> py::object {
    const Stack s = stack_of(address);
    if (!s) return py::none();
    std::vector<torch::CapturedTraceback*> one = {s.get()};
    return torch::py_symbolize(one)[0];
  });
}

}  // namespace anygpu::torch_frontend
