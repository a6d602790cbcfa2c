// What the runtime asks of a Python program (anygpu/host.h).
#pragma once

#include <string>
#include <vector>

namespace anygpu::torch_frontend {

/// Answers with Python's frames and Python's signals from now on. `inside`: folders whose frames are not the user's. Called with Python's
/// lock, by the main thread.
void answer_for_python(std::vector<std::string> inside);

}  // namespace anygpu::torch_frontend
