#include "host.h"

#include <torch/csrc/Exceptions.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/utils/pybind.h>

#include <algorithm>
#include <thread>

#include "anygpu/host.h"

namespace anygpu::torch_frontend {
namespace {

namespace py = pybind11;

std::vector<std::string>& not_users() {
  static auto* folders = new std::vector<std::string>;
  return *folders;
}
std::thread::id main_thread;

bool finishing() {
#if PY_VERSION_HEX >= 0x030d0000
  return Py_IsFinalizing();
#else
  return _Py_IsFinalizing();
#endif
}

struct Line {
  std::string text;
  bool users, library;  ///< not PyTorch's or ours; of another package that is installed
};

Line line_of(PyFrameObject* frame) {
  const auto code = py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(PyFrame_GetCode(frame)));
  const auto* c = reinterpret_cast<PyCodeObject*>(code.ptr());
  const auto text = [](PyObject* s) {
    const char* utf8 = PyUnicode_AsUTF8(s);
    if (!utf8) PyErr_Clear();
    return std::string(utf8 ? utf8 : "?");
  };
  const std::string file = text(c->co_filename);
  const bool inside = file.starts_with("<frozen") || std::any_of(not_users().begin(), not_users().end(),
                                                                 [&](const std::string& folder) { return file.starts_with(folder); });
  return {"  File \"" + file + "\", line " + std::to_string(PyFrame_GetLineNumber(frame)) + ", in " + text(c->co_name), !inside,
          file.find("site-packages") != std::string::npos};
}

/// Outermost first, as a traceback has them. Without `all`: the innermost line that is the user's, and that of a library which it called.
std::string frames(bool all) {
  std::vector<Line> lines;  // innermost first
  auto frame = py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(PyEval_GetFrame()));
  for (bool found = false; frame && !found;) {
    auto* f = reinterpret_cast<PyFrameObject*>(frame.ptr());
    Line line = line_of(f);
    const bool takes = line.users && (lines.empty() || !line.library);
    found = !all && line.users && !line.library;
    if (all || takes) lines.push_back(std::move(line));
    frame = py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(PyFrame_GetBack(f)));
  }
  std::string text;
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) text += (text.empty() ? "" : "\n") + line->text;
  return text;
}

std::string where(bool all) {
  if (const auto node = torch::autograd::get_current_node()) return "  the backward pass, in " + node->name();
  // A thread that Python does not know has no frames, and is not made known to it: that would be seen by others.
  if (!Py_IsInitialized() || finishing() || !PyGILState_GetThisThreadState()) return {};
  const py::gil_scoped_acquire gil;
  const py::error_scope kept;  // an error that is being raised stays
  return frames(all);
}

void interrupt() {
  if (std::this_thread::get_id() != main_thread || !Py_IsInitialized() || finishing()) return;
  const py::gil_scoped_acquire gil;
  if (PyErr_CheckSignals() == 0) return;
  python_error e;
  e.persist();
  throw e;
}

}  // namespace

void answer_for_python(std::vector<std::string> inside) {
  not_users() = std::move(inside);
  main_thread = std::this_thread::get_id();
  set_host_hooks({where, interrupt});
}

}  // namespace anygpu::torch_frontend
