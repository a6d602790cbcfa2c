// Whether two Generics may run as one loop nest, and that loop nest.
//
// Both are first brought over one index space: a pair of accesses that touch the same memory says which dimensions
// correspond; dimensions are split where one side has them collapsed. Then every pair of accesses of which one writes must
// either never meet, or meet only at equal indices.
#include <algorithm>
#include <cstdlib>

#include "ir/rewriter.h"
#include "runtime/overlap.h"
#include "runtime/plan.h"

namespace anygpu {

using ir::Access;
using ir::DimPart;
using ir::ExprOp;
using ir::Generic;
using ir::Node;

namespace {

// Bounds on one kernel: registers, descriptors and compile time all grow with these.
constexpr int kMaxNodes = 220, kMaxAccesses = 24, kMaxStores = 8;
// A row that is read in several stages should stay in a core's second-level cache between them.
constexpr int64_t kMaxRowBytes = 1 << 20;
constexpr int64_t kMinRows = 4, kSmall = 16384;
constexpr const char* kOtherOrder = "its sums would be taken in another order";

struct Dim {
  int dim;
  int64_t size;
};

/// Matches two lists of dimensions from the innermost on, splitting where needed. Appends innermost first.
bool refine(const std::vector<Dim>& a, const std::vector<Dim>& b, std::vector<DimPart>& pa, std::vector<DimPart>& pb) {
  int i = static_cast<int>(a.size()) - 1, j = static_cast<int>(b.size()) - 1;
  int64_t ra = i >= 0 ? a[static_cast<size_t>(i)].size : 1, rb = j >= 0 ? b[static_cast<size_t>(j)].size : 1, ua = 1, ub = 1;
  while (i >= 0 && j >= 0) {
    int64_t n = std::min(ra, rb);
    if (n == 0 || ra % n || rb % n) return false;
    pa.push_back({a[static_cast<size_t>(i)].dim, ua, n, false});
    pb.push_back({b[static_cast<size_t>(j)].dim, ub, n, false});
    ra /= n;
    rb /= n;
    ua *= n;
    ub *= n;
    if (ra == 1 && --i >= 0) ra = a[static_cast<size_t>(i)].size, ua = 1;
    if (rb == 1 && --j >= 0) rb = b[static_cast<size_t>(j)].size, ub = 1;
  }
  return i < 0 && j < 0;
}

int64_t extent(const Generic& g, bool reduction_part) {
  int64_t n = 1;
  for (int d = 0; d < g.rank(); ++d)
    if (g.reduces(d) == reduction_part) n *= g.sizes[d];
  return n;
}

struct Pairing {
  int first = -1, second = -1;  // accesses that must coincide, or none
  int64_t covers = 0;
};

/// The dimensions of `g` that take part, those that `a` walks by falling stride, then those that it repeats.
void split_dims(const Generic& g, const Access* a, bool skip_reduction, std::vector<Dim>& walked, std::vector<Dim>& repeated) {
  for (int d = 0; d < g.rank(); ++d) {
    if (skip_reduction && g.reduces(d)) continue;
    (a && a->strides[d] != 0 ? walked : repeated).push_back({d, g.sizes[d]});
  }
  if (a)
    std::stable_sort(walked.begin(), walked.end(),
                     [&](const Dim& x, const Dim& y) { return std::abs(a->strides[x.dim]) > std::abs(a->strides[y.dim]); });
}

/// Brings both over one index space. `outer_*`: that side lacks the other's reduction dimensions.
bool align(const Generic& f, const Generic& s, const Pairing& pair, bool outer_f, bool outer_s, Generic& af, Generic& as) {
  const Access* a = pair.first >= 0 ? &f.accesses[static_cast<size_t>(pair.first)] : nullptr;
  const Access* b = pair.second >= 0 ? &s.accesses[static_cast<size_t>(pair.second)] : nullptr;
  std::vector<Dim> wf, rf, ws, rs;
  split_dims(f, a, outer_s, wf, rf);
  split_dims(s, b, outer_f, ws, rs);
  std::vector<DimPart> pf, ps;
  if (!refine(wf, ws, pf, ps)) return false;
  if (a)
    for (size_t k = 0; k < pf.size(); ++k)
      if (a->strides[pf[k].dim] * pf[k].unit != b->strides[ps[k].dim] * ps[k].unit) return false;
  if (!refine(rf, rs, pf, ps)) return false;
  for (size_t k = 0; k < pf.size(); ++k) {
    bool in_f = f.reduces(pf[k].dim), in_s = s.reduces(ps[k].dim);
    if (in_f != in_s && f.reduce && s.reduce) return false;
    pf[k].reduce = ps[k].reduce = in_f || in_s;
  }
  // What only one side has: the other repeats over it.
  if (outer_s)
    for (int d = 0; d < f.rank(); ++d)
      if (f.reduces(d)) pf.push_back({d, 1, f.sizes[d], true}), ps.push_back({-1, 1, f.sizes[d], true});
  if (outer_f)
    for (int d = 0; d < s.rank(); ++d)
      if (s.reduces(d)) ps.push_back({d, 1, s.sizes[d], true}), pf.push_back({-1, 1, s.sizes[d], true});
  if (pf.size() > static_cast<size_t>(kMaxRank)) return false;
  std::reverse(pf.begin(), pf.end());
  std::reverse(ps.begin(), ps.end());
  af = ir::over_dims(f, pf);
  as = ir::over_dims(s, ps);
  return true;
}

bool same_map(const Access& a, const Access& b) {
  return a.slot == b.slot && a.dtype == b.dtype && a.offset == b.offset && a.strides == b.strides;
}

bool plain(const ir::Store& s) {
  return s.index < 0 && s.guard < 0 && s.combine == ir::Combine::None;
}

/// For one access of `g`: whether some Load reaches it by a computed offset.
bool computed_load(const Generic& g, int access) {
  for (const Node& n : g.body.nodes())
    if (n.op == ExprOp::Load && n.a == access && n.b >= 0) return true;
  return false;
}
bool is_loaded(const Generic& g, int access) {
  for (const Node& n : g.body.nodes())
    if (n.op == ExprOp::Load && n.a == access) return true;
  return false;
}

/// Two accesses of one index space, one of which writes: may they touch the same bytes at different indices?
bool may_cross(const Generic& f, const Access& a, bool whole_a, const Generic& s, const Access& b, bool whole_b) {
  if (a.slot != b.slot) return false;
  if (!whole_a && !whole_b) {
    if (same_map(a, b)) return false;
    return may_overlap(a, f.sizes, b, s.sizes);
  }
  return true;
}

bool has_reduce(const Generic& g) {
  for (const Node& n : g.body.nodes())
    if (n.op == ExprOp::Reduce) return true;
  return false;
}

/// More than one pass over a row: something inside the reduction's loops needs a Reduce's result.
bool multi_stage(const Generic& g) {
  std::vector<bool> after(static_cast<size_t>(g.body.size()));  // depends on a Reduce
  for (int i = 0; i < g.body.size(); ++i) {
    const Node& n = g.body[i];
    bool dep = n.op == ExprOp::Reduce;
    for (int x : {n.op == ExprOp::Load ? -1 : n.a, n.b, n.c})
      if (x >= 0 && after[static_cast<size_t>(x)]) {
        dep = true;
        if (n.op == ExprOp::Reduce) return true;
      }
    after[static_cast<size_t>(i)] = dep;
  }
  const std::vector<bool> full = ir::stored_at_every_index(g);
  for (size_t i = 0; i < g.stores.size(); ++i)
    if (full[i] && after[static_cast<size_t>(g.stores[i].value)]) return true;
  return false;
}

/// Writes one element at several indices (an expanded tensor filled in place), so that equal maps do not mean equal moments.
bool repeats(const Access& a, const Dims& sizes, uint32_t reduce) {
  for (int d = 0; d < sizes.size(); ++d)
    if (!(reduce >> d & 1) && sizes[d] > 1 && a.strides[d] == 0) return true;
  return false;
}

bool legal(const Generic& f, const Generic& s, bool reducing, std::string& why) {
  const uint32_t reduce = f.reduce | s.reduce;
  for (size_t i = 0; i < f.stores.size(); ++i) {
    const Access& w = f.accesses[static_cast<size_t>(f.stores[i].access)];
    for (size_t j = 0; j < s.accesses.size(); ++j) {
      const Access& o = s.accesses[j];
      if (o.slot != w.slot) continue;
      bool whole = computed_load(s, static_cast<int>(j));
      if (may_cross(f, w, !plain(f.stores[i]) || repeats(w, f.sizes, reduce), s, o, whole)) {
        why = "reads or writes the other's result at other indices";
        return false;
      }
    }
  }
  for (const ir::Store& st : s.stores) {
    const Access& w = s.accesses[static_cast<size_t>(st.access)];
    for (size_t j = 0; j < f.accesses.size(); ++j) {
      const Access& o = f.accesses[j];
      if (o.slot != w.slot) continue;
      if (may_cross(s, w, !plain(st) || repeats(w, s.sizes, reduce), f, o, computed_load(f, static_cast<int>(j)))) {
        why = "overwrites what the other still reads at other indices";
        return false;
      }
      if (reducing && is_loaded(f, static_cast<int>(j)) && may_overlap(w, s.sizes, o, f.sizes)) {
        why = "overwrites in place what a reduction reads in several passes";
        return false;
      }
    }
  }
  return true;
}

/// `second`'s body after `first`'s, loads of what `first` stores replaced by the value. Both over the same dimensions.
Generic join(const Generic& f, const Generic& s) {
  Generic r = f;
  r.reduce = f.reduce | s.reduce;
  if (!r.order.fixed()) r.order = s.order;
  std::vector<int32_t> access_to(s.accesses.size()), arg_to(s.args.size());
  for (size_t j = 0; j < s.accesses.size(); ++j) {
    auto it = std::find_if(r.accesses.begin(), r.accesses.end(), [&](const Access& a) { return same_map(a, s.accesses[j]); });
    access_to[j] = static_cast<int32_t>(it - r.accesses.begin());
    if (it == r.accesses.end()) r.accesses.push_back(s.accesses[j]);
  }
  for (size_t j = 0; j < s.args.size(); ++j) {
    auto it = std::find(r.args.begin(), r.args.end(), s.args[j]);
    arg_to[j] = static_cast<int32_t>(it - r.args.begin());
    if (it == r.args.end()) r.args.push_back(s.args[j]);
  }
  const ir::Rewriter rewritten(s.body.nodes(), [&](int, Node n) {
    if (n.op == ExprOp::Arg) n.imm.i = arg_to[static_cast<size_t>(n.imm.i)];
    if (n.op == ExprOp::Load) {
      n.a = access_to[static_cast<size_t>(n.a)];
      int32_t forwarded = -1;
      if (n.b < 0)
        for (const ir::Store& st : f.stores)
          if (st.access == n.a) forwarded = st.value;
      if (forwarded >= 0) return forwarded;
    }
    return r.body.add(n);
  });
  for (const ir::Store& old_store : s.stores) {
    ir::Store st = rewritten(old_store);
    st.access = access_to[static_cast<size_t>(st.access)];
    // The later write of the same elements is the one that counts.
    std::erase_if(r.stores, [&](const ir::Store& old) { return old.access == st.access; });
    r.stores.push_back(st);
  }
  if (r.name.find(s.name) == std::string::npos) r.name += "+" + s.name;
  return r;
}

/// Whether limits hold.
bool acceptable(const Generic& g, std::string& why) {
  if (g.body.size() > kMaxNodes || static_cast<int>(g.accesses.size()) > kMaxAccesses || static_cast<int>(g.stores.size()) > kMaxStores) {
    why = "the kernel would grow too large";
    return false;
  }
  int64_t bytes_per_point = 0;
  for (const Access& a : g.accesses) {
    bool along = false;
    for (int d = 0; d < g.rank(); ++d) along |= g.reduces(d) && a.strides[d] != 0;
    if (along) bytes_per_point += size_of(a.dtype);
  }
  if (multi_stage(g)) {
    int64_t row = extent(g, true), rows = extent(g, false);
    if (row * rows > kSmall && (row * bytes_per_point > kMaxRowBytes || rows < kMinRows)) {
      why = "a row does not fit the cache, or there are too few rows";
      return false;
    }
  }
  return true;
}

/// Whether each loop of the order can still be walked as one.
bool keeps_order(const Generic& g) {
  for (const std::vector<int>& loop : g.order.loops) {
    for (size_t i = 0; i + 1 < loop.size(); ++i)
      for (const Access& a : g.accesses)
        if (a.strides[loop[i]] != a.strides[loop[i + 1]] * g.sizes[loop[i + 1]]) return false;
    for (const Node& n : g.body.nodes())
      if (loop.size() > 1 && n.op == ExprOp::Index && std::find(loop.begin(), loop.end(), n.imm.i) != loop.end()) return false;
  }
  return true;
}

bool closed(const Generic& g) {
  for (const ir::Store& s : g.stores)
    if (!plain(s)) return true;
  return false;
}

}  // namespace

bool fuse_pair(const Generic& f, const Generic& s, Generic& fused, std::string& why) {
  why = "different index spaces";
  if (closed(f) || closed(s)) {
    why = "a scatter";
    return false;
  }
  int64_t nf = product(f.sizes), ns = product(s.sizes);
  bool outer_f = false, outer_s = false;
  if (nf != ns) {
    outer_s = f.reduce && !s.reduce && extent(f, false) == ns;
    outer_f = s.reduce && !f.reduce && extent(s, false) == nf;
    if (!outer_s && !outer_f) return false;
  }
  if (nf == 0 || ns == 0) return false;

  std::vector<Pairing> pairs;
  for (size_t i = 0; i < f.accesses.size(); ++i)
    for (size_t j = 0; j < s.accesses.size(); ++j) {
      const Access &a = f.accesses[i], &b = s.accesses[j];
      if (a.slot != b.slot || a.dtype != b.dtype || a.offset != b.offset) continue;
      int64_t covers = 1;
      for (int d = 0; d < f.rank(); ++d) covers *= a.strides[d] != 0 ? f.sizes[d] : 1;
      pairs.push_back({static_cast<int>(i), static_cast<int>(j), covers});
    }
  std::stable_sort(pairs.begin(), pairs.end(), [](const Pairing& a, const Pairing& b) { return a.covers > b.covers; });
  if (pairs.size() > 4) pairs.resize(4);
  pairs.push_back({});

  bool reducing = has_reduce(f) || has_reduce(s);
  for (const Pairing& pair : pairs) {
    Generic af, as;
    if (!align(f, s, pair, outer_f, outer_s, af, as)) continue;
    if (!legal(af, as, reducing, why)) continue;
    if (af.order.fixed() && as.order.fixed() && !(af.order == as.order)) {
      why = kOtherOrder;
      continue;
    }
    Generic g = join(af, as);
    if (!keeps_order(g)) {
      why = kOtherOrder;
      continue;
    }
    if (!acceptable(g, why)) continue;
    fused = std::move(g);
    return true;
  }
  return false;
}

}  // namespace anygpu
