// Values that are the same everywhere (zeros, ones, a scalar spread over a tensor) are not read back from memory: readers
// get the constant or the argument itself, and the fill is dropped where nothing else needs it.
#include <optional>
#include <unordered_map>

#include "ir/rewriter.h"
#include "runtime/plan.h"

namespace anygpu {

using ir::ExprOp;
using ir::Generic;
using ir::Node;

namespace {

/// A chain of constants, arguments and arithmetic without loads or indices.
struct Uniform {
  Generic source;  // whose stores[0].value it is
  int64_t begin, end;
  DType dtype;
};

std::optional<Uniform> uniform_of(const Generic& g) {
  if (g.stores.size() != 1 || g.reduce) return {};
  const ir::Store& s = g.stores[0];
  if (s.index >= 0 || s.guard >= 0 || s.combine != ir::Combine::None || g.body.size() > 8) return {};
  for (const Node& n : g.body.nodes())
    if (n.op == ExprOp::Load || n.op == ExprOp::Index || n.op == ExprOp::Reduce || n.op == ExprOp::Check || n.op == ExprOp::Philox)
      return {};
  // Only a dense write tells what every byte of its range holds.
  const ir::Access& a = g.accesses[static_cast<size_t>(s.access)];
  Generic c = g;
  ir::normalise(c);
  if (c.rank() > 1 || (c.rank() == 1 && c.accesses[0].strides[0] != 1)) return {};
  int64_t n = product(c.sizes), size = size_of(a.dtype);
  return Uniform{g, a.offset * size, (a.offset + n) * size, a.dtype};
}

int32_t copy_value(const Generic& from, Generic& to) {
  const ir::Rewriter rewritten(from.body.nodes(), [&](int, Node n) {
    if (n.op == ExprOp::Arg) {
      to.args.push_back(from.args[static_cast<size_t>(n.imm.i)]);
      n.imm.i = static_cast<int64_t>(to.args.size()) - 1;
    }
    return to.body.add(n);
  });
  return rewritten(from.stores[0].value);
}

}  // namespace

void inline_uniform(std::vector<ir::Step>& steps) {
  std::unordered_map<int32_t, Uniform> known;  // by slot
  for (ir::Step& step : steps) {
    if (auto* g = std::get_if<Generic>(&step)) {
      bool any = false;
      std::vector<ir::Touch> touches = ir::touches(step);
      std::vector<bool> replace(g->accesses.size());
      for (size_t a = 0; a < g->accesses.size(); ++a) {
        auto it = known.find(g->accesses[a].slot);
        if (it == known.end() || it->second.dtype != g->accesses[a].dtype) continue;
        bool inside = true;
        for (const ir::Touch& t : touches)
          if (t.slot == it->first && !t.write) inside = inside && t.begin >= it->second.begin && t.end <= it->second.end;
        replace[a] = inside;
        any |= inside;
      }
      if (any) {
        Generic r = *g;
        r.body = {};
        const ir::Rewriter rewritten(g->body.nodes(), [&](int, const Node& n) {
          if (n.op != ExprOp::Load || !replace[static_cast<size_t>(n.a)]) return r.body.add(n);
          return copy_value(known.at(g->accesses[static_cast<size_t>(n.a)].slot).source, r);
        });
        for (ir::Store& s : r.stores) s = rewritten(s);
        ir::prune(r);
        *g = std::move(r);
      }
    }
    for (const ir::Touch& t : ir::touches(step))
      if (t.write) known.erase(t.slot);
    if (auto* g = std::get_if<Generic>(&step))
      if (auto u = uniform_of(*g)) known.insert_or_assign(g->accesses[static_cast<size_t>(g->stores[0].access)].slot, std::move(*u));
  }
}

}  // namespace anygpu
