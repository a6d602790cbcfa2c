// Sums of products within a Generic, such as an attention's scores, become matrix products: their tiles use what is loaded many times.
#include <algorithm>
#include <set>

#include "halves.h"
#include "ir/rewriter.h"
#include "steps.h"

namespace anygpu::gpu {
namespace {

using ir::ExprOp;
using ir::Generic;
using ir::Node;

constexpr int64_t kFewest = 8192;  // products, for which a second kernel pays

/// What the one Reduce of a Generic sums: accesses a and b, multiplied by these nodes.
struct Found {
  int reduce, a, b;
  std::set<int> nodes;
};

bool widens(const Generic& g, int id) {
  const Node& n = g.body[id];
  return n.op == ExprOp::Cast && n.type == DType::F32 && kind_of(g.body[n.a].type);
}

/// The access that a factor loads: of f32 or f64, or of halves that are widened. Its nodes are added to `nodes`.
std::optional<int> plain_load(const Generic& g, int id, std::set<int>& nodes) {
  nodes.insert(id);
  if (widens(g, id)) nodes.insert(id = g.body[id].a);
  const Node& n = g.body[id];
  if (n.op != ExprOp::Load || n.b >= 0) return {};
  return n.a;
}

std::optional<Found> find(const Generic& g) {
  Found f{-1, -1, -1, {}};
  for (int i = 0; i < g.body.size(); ++i) {
    if (g.body[i].op != ExprOp::Reduce) continue;
    if (f.reduce >= 0) return {};
    f.reduce = i;
  }
  if (f.reduce < 0 || static_cast<ir::ReduceKind>(g.body[f.reduce].imm.i) != ir::ReduceKind::Sum) return {};
  const Node& product = g.body[g.body[f.reduce].a];
  if (product.op != ExprOp::Mul || (product.type != DType::F32 && product.type != DType::F64)) return {};
  const auto a = plain_load(g, product.a, f.nodes), b = plain_load(g, product.b, f.nodes);
  if (!a || !b) return {};
  f.a = *a, f.b = *b;
  // All else must be the same at every index of the reduction.
  const std::vector<bool> varies = varies_in_reduction(g);
  f.nodes.insert(g.body[f.reduce].a);
  for (int i = 0; i < g.body.size(); ++i) {
    if (varies[i] && !f.nodes.count(i)) return {};
  }
  for (const ir::Store& s : g.stores) {
    for (int d = 0; d < g.rank(); ++d)
      if (g.reduces(d) && g.accesses[static_cast<size_t>(s.access)].strides[d] != 0) return {};
    for (const int node : {s.value, s.index, s.guard})
      if (node >= 0 && varies[node]) return {};
  }
  return f;
}

/// Dimensions of one role as one: those that lie in order in memory are joined.
struct Dim {
  int64_t size, a, b;
  std::vector<int> of;  // the Generic's
};

bool join(std::vector<Dim>& dims) {
  for (size_t i = 0; i + 1 < dims.size();) {
    Dim &outer = dims[i], &inner = dims[i + 1];
    if (outer.a == inner.a * inner.size && outer.b == inner.b * inner.size) {
      outer.size *= inner.size;
      outer.a = inner.a, outer.b = inner.b;
      outer.of.insert(outer.of.end(), inner.of.begin(), inner.of.end());
      dims.erase(dims.begin() + static_cast<int64_t>(i) + 1);
    } else {
      ++i;
    }
  }
  return dims.size() <= 1;
}

/// The Generic with a load of `sums` (strides per parallel dimension) in the place of its Reduce.
Generic without_sum(const Generic& g, const Found& f, const ir::Operand& sums, const Dims& strides) {
  Generic out;
  out.name = g.name;
  out.args = g.args;
  std::vector<int> dim(static_cast<size_t>(g.rank()), -1);
  for (int d = 0; d < g.rank(); ++d) {
    if (g.reduces(d)) continue;
    dim[static_cast<size_t>(d)] = out.rank();
    out.sizes.push_back(g.sizes[d]);
  }
  auto parallel = [&](const Dims& all) {
    Dims kept;
    for (int d = 0; d < g.rank(); ++d)
      if (!g.reduces(d)) kept.push_back(all[d]);
    return kept;
  };
  ir::FirstUse access;  // 0 are the sums
  out.accesses.push_back({sums.slot, sums.dtype, sums.offset, parallel(strides)});
  const std::vector<bool> varies = varies_in_reduction(g);
  const ir::Rewriter rewritten(g.body.nodes(), [&](int i, Node n) {
    if (i == f.reduce) return out.body.add(Node{ExprOp::Load, sums.dtype, 0});
    if (i == g.body[f.reduce].a || (f.nodes.count(i) && varies[static_cast<size_t>(i)])) return -1;
    if (n.op == ExprOp::Load) n.a = 1 + access(n.a);
    if (n.op == ExprOp::Index) n.imm.i = dim[static_cast<size_t>(n.imm.i)];
    return out.body.add(n);
  });
  for (const ir::Store& old : g.stores) {
    out.stores.push_back(rewritten(old));
    out.stores.back().access = 1 + access(old.access);
  }
  for (int old : access.kept) {
    out.accesses.push_back(g.accesses[static_cast<size_t>(old)]);
    out.accesses.back().strides = parallel(out.accesses.back().strides);
  }
  return out;
}

/// Which dimensions of the Generic are which of the matrices.
struct Roles {
  std::vector<Dim> batch;
  Dim m, n, k;
  Dims sizes() const {
    Dims all;
    for (const Dim& d : batch) all.push_back(d.size);
    all.push_back(m.size), all.push_back(n.size);
    return all;
  }
};

/// Nothing where there is no product, too small a one, or one of too many dimensions.
std::optional<Roles> roles_of(const Generic& g, const ir::Access& a, const ir::Access& b) {
  std::vector<Dim> sum, rows, columns, batch;
  for (int d = 0; d < g.rank(); ++d) {
    if (g.sizes[d] == 0) return {};
    if (g.sizes[d] == 1) continue;
    const Dim dim{g.sizes[d], a.strides[d], b.strides[d], {d}};
    if (g.reduces(d)) {
      sum.push_back(dim);
    } else if (dim.a && dim.b) {
      batch.push_back(dim);
    } else if (dim.a) {
      rows.push_back(dim);
    } else if (dim.b) {
      columns.push_back(dim);
    }  // else: the sum is the same along it
  }
  if (!join(sum) || sum.empty() || rows.empty() || columns.empty()) return {};
  double products = static_cast<double>(sum[0].size);
  for (const auto* dims : {&batch, &rows, &columns})
    for (const Dim& d : *dims) products *= static_cast<double>(d.size);
  if (products < kFewest) return {};
  // The largest of several is the matrix's; the others repeat one of the factors, as batch dimensions do.
  join(batch);
  for (auto* dims : {&rows, &columns}) {
    join(*dims);
    std::stable_sort(dims->begin(), dims->end(), [](const Dim& x, const Dim& y) { return x.size < y.size; });
    batch.insert(batch.end(), dims->begin(), dims->end() - 1);
    dims->erase(dims->begin(), dims->end() - 1);
  }
  if (batch.size() > static_cast<size_t>(kMaxRank) - 2) return {};
  return Roles{std::move(batch), rows[0], columns[0], sum[0]};
}

/// The product, but for its dst.
ir::Named matmul_of(const std::string& name, const Roles& r, const ir::Access& a, const ir::Access& b) {
  Dims lhs_sizes, rhs_sizes, lhs_strides, rhs_strides;
  for (const Dim& d : r.batch) {
    lhs_sizes.push_back(d.size), rhs_sizes.push_back(d.size);
    lhs_strides.push_back(d.a), rhs_strides.push_back(d.b);
  }
  lhs_sizes.push_back(r.m.size), lhs_sizes.push_back(r.k.size);
  lhs_strides.push_back(r.m.a), lhs_strides.push_back(r.k.a);
  rhs_sizes.push_back(r.k.size), rhs_sizes.push_back(r.n.size);
  rhs_strides.push_back(r.k.b), rhs_strides.push_back(r.n.b);
  ir::Named matmul{ir::NamedKind::Matmul, {}, {}, name};
  matmul.operands.resize(3);
  matmul.operands[1] = {a.slot, a.dtype, a.offset, lhs_sizes, lhs_strides};
  matmul.operands[2] = {b.slot, b.dtype, b.offset, rhs_sizes, rhs_strides};
  return matmul;
}

/// Strides of an array of roles' sizes, per dimension of the Generic; those along which the sum is the same have none.
Dims spread(const Generic& g, const Roles& r, const Dims& of_array) {
  Dims strides = Dims::filled(g.rank(), 0);
  auto one = [&](const Dim& d, int64_t inner) {
    for (size_t i = d.of.size(); i-- > 0;) {
      strides[d.of[i]] = inner;
      inner *= g.sizes[d.of[i]];
    }
  };
  int at = 0;
  for (const Dim& d : r.batch) one(d, of_array[at++]);
  one(r.m, of_array[at++]);
  one(r.n, of_array[at]);
  return strides;
}

/// A store of nothing but the sum, or the sum as a half, needs no Generic, where each element has a place of its own: the product's dst.
std::optional<ir::Operand> dst_of(const Generic& g, const Found& f, const Roles& r) {
  const ir::Access &a = g.accesses[static_cast<size_t>(f.a)], &b = g.accesses[static_cast<size_t>(f.b)];
  const ir::Store& store = g.stores[0];
  const ir::Access& to = g.accesses[static_cast<size_t>(store.access)];
  const Node& value = g.body[store.value];
  const bool narrowed = value.op == ExprOp::Cast && value.a == f.reduce && kind_of(value.type) && g.body[f.reduce].type == DType::F32;
  bool direct = g.stores.size() == 1 && (store.value == f.reduce || narrowed) && store.index < 0 && store.guard < 0 &&
                store.combine == ir::Combine::None && to.slot != a.slot && to.slot != b.slot;
  for (const Node& node : g.body.nodes()) direct = direct && node.op != ExprOp::Check;
  Dims strides;
  auto place = [&](const Dim& d) {
    strides.push_back(to.strides[d.of.back()]);
    int64_t inner = to.strides[d.of.back()];
    for (size_t i = d.of.size(); i-- > 0;) {
      direct = direct && inner != 0 && to.strides[d.of[i]] == inner;
      inner *= g.sizes[d.of[i]];
    }
  };
  for (const Dim& d : r.batch) place(d);
  place(r.m), place(r.n);
  for (int d = 0; d < g.rank(); ++d)
    if (!g.reduces(d) && g.sizes[d] > 1 && a.strides[d] == 0 && b.strides[d] == 0) direct = false;
  if (!direct) return {};
  return ir::Operand{to.slot, to.dtype, to.offset, r.sizes(), strides};
}

}  // namespace

std::optional<Compiled> compile_product(const Generic& g, const Target& can) {
  const auto f = find(g);
  if (!f) return {};
  const ir::Access &a = g.accesses[static_cast<size_t>(f->a)], &b = g.accesses[static_cast<size_t>(f->b)];
  const auto roles = roles_of(g, a, b);
  if (!roles) return {};
  ir::Named matmul = matmul_of(g.name, *roles, a, b);
  if (auto dst = dst_of(g, *f, *roles)) {
    matmul.operands[0] = std::move(*dst);
    return can.api->matmul(matmul, can);
  }
  int32_t slots = 0;
  for (const ir::Access& access : g.accesses) slots = std::max(slots, access.slot + 1);
  Sequence parts(slots);
  const ir::Operand& sums = matmul.operands[0] = parts.temp(g.body[f->reduce].type, roles->sizes());
  if (parts.largest_bytes() > can.max_binding_bytes) return {};
  auto made = can.api->matmul(matmul, can);
  if (!made) return {};
  parts.add(std::move(*made));
  parts.add(compile_generic(without_sum(g, *f, sums, spread(g, *roles, sums.strides)), can));
  return parts.finish();
}

}  // namespace anygpu::gpu
