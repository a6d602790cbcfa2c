// Finds operators by name. A new file of operators adds its table here and in tables.h.
#include <algorithm>
#include <string>
#include <unordered_map>

#include "ops/tables.h"

namespace anygpu {

namespace {

const std::unordered_map<std::string_view, const Op*>& registry() {
  static const auto* map = [] {
    auto* m = new std::unordered_map<std::string_view, const Op*>;
    for (ops::OpTable table : {
             ops::pointwise_unary(),
             ops::pointwise_binary(),
             ops::pointwise_activation(),
             ops::pointwise_loss(),
             ops::pointwise_special(),
             ops::pointwise_iterated(),
             ops::factories(),
             ops::randoms(),
             ops::optimizers(),
             ops::reductions(),
             ops::scans(),
             ops::indexing(),
             ops::matmuls(),
             ops::convolutions(),
             ops::pools(),
             ops::normalisations(),
             ops::softmaxes(),
             ops::attentions(),
             ops::losses(),
             ops::ctc(),
             ops::recurrent_cells(),
             ops::resampling(),
             ops::grid_sampling(),
             ops::paddings(),
             ops::unfolding(),
         })
      for (const Op& op : table)
        if (!m->emplace(op.name, &op).second)
          throw Error(ErrorKind::Internal, "[catalogue] two operators are called " + std::string(op.name));
    return m;
  }();
  return *map;
}

}  // namespace

const Op& op(std::string_view name) {
  auto it = registry().find(name);
  if (it == registry().end()) throw Error(ErrorKind::NotImplemented, "[" + std::string(name) + "] no such operator in the catalogue");
  return *it->second;
}

std::string_view name_of(const Op& op) {
  return op.name;
}

std::vector<std::string_view> op_names() {
  std::vector<std::string_view> names;
  for (auto& [name, _] : registry()) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace anygpu
