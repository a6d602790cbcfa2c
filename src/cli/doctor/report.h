// Findings as text for people and as JSON for programs.
#pragma once

#include "cli/doctor/doctor.h"

namespace anygpu::cli {

struct ReportOptions {
  bool verbose = false;  ///< each finding, not only what is wrong
  bool colour = false;
  int rows = 40, columns = 120;  ///< of the screen; without `verbose` the report keeps within it
};

std::string report_text(const Machine&, const Findings&, const ReportOptions&);
std::string report_json(const Machine&, const Findings&, const std::string& root);

}  // namespace anygpu::cli
