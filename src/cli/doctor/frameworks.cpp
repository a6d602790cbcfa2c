// PyTorch, TensorFlow, and whether the frontends fit them.
#include "cli/doctor/doctor.h"

namespace anygpu::cli {

namespace {

constexpr std::pair<int, int> kFirstTorch{2, 11}, kLastTorch{2, 13};  // that the frontend's source builds against

std::string short_version(std::pair<int, int> v) {
  return std::to_string(v.first) + "." + std::to_string(v.second);
}

/// What anygpu's metadata wants, "==2.13.*", as a minor version.
std::pair<int, int> wanted(const std::string& requirement) {
  const size_t digit = requirement.find_first_of("0123456789");
  return digit == std::string::npos ? std::pair{0, 0} : major_minor(requirement.substr(digit));
}

void check_torch(const PythonPlace& place, Findings& findings) {
  const std::string link = "in " + place.folder;
  const auto version = major_minor(place.torch);
  const auto want = wanted(place.wants);
  const std::string range = short_version(kFirstTorch) + " to " + short_version(kLastTorch);
  if (place.torch.empty()) {
    if (!place.anygpu.empty())
      findings.warn("PyTorch", link, "anygpu " + place.anygpu + " is installed without PyTorch",
                    "pip install torch==" + short_version(want.first ? want : kLastTorch) + ".*", "pytorch");
  } else if (version < kFirstTorch || version > kLastTorch) {
    findings.warn("PyTorch", link, "PyTorch " + place.torch + ": anygpu's frontend is for " + range,
                  "pip install torch==" + short_version(want.first ? want : kLastTorch) + ".*", "pytorch");
  } else if (!place.anygpu.empty() && want.first && want != version) {
    findings.fail("PyTorch", link, "PyTorch " + place.torch + ", but the anygpu there was built for " + short_version(want),
                  "pip install torch==" + short_version(want) + ".*, or build anygpu again: pip install --no-build-isolation .", "pytorch");
  } else if (place.anygpu.empty()) {
    findings.info("PyTorch", link, "PyTorch " + place.torch + ", without anygpu");
  } else {
    findings.pass("PyTorch", link, "PyTorch " + place.torch + " with anygpu " + place.anygpu);
  }
}

}  // namespace

void check_frameworks(const Machine& machine, Findings& findings) {
  bool torch = false;
  for (const auto& place : machine.pythons) {
    torch |= !place.torch.empty();
    check_torch(place, findings);
    if (!place.tensorflow.empty())
      findings.info("TensorFlow", "in " + place.folder, "TensorFlow " + place.tensorflow + ": anygpu has no frontend for it yet");
  }
  if (!torch) findings.info("PyTorch", "packages", "none found in the usual folders and the active environment");
}

}  // namespace anygpu::cli
