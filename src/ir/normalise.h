// A Generic over other dimensions, that does the same: dimensions that do nothing dropped, the rest sorted and joined, or split.
#pragma once

#include <vector>

#include "ir/generic.h"

namespace anygpu::ir {

/// Drops dimensions of size 1, reductions over nothing, and nodes, accesses and args that no store or Check needs.
void prune(Generic&);
/// prune(); then sorts dimensions by stride and joins those that are one in memory.
void normalise(Generic&);

/// New dimension k runs over old dimension `dim` (or none: -1) in units of `unit`.
struct DimPart {
  int dim;
  int64_t unit;
  int64_t size;
  bool reduce;
};
/// `g` with its dimensions split, reordered, or more of them.
Generic over_dims(const Generic& g, const std::vector<DimPart>& parts);

}  // namespace anygpu::ir
