#include "ir/named.h"

#include <algorithm>
#include <limits>

namespace anygpu::ir {
namespace {

constexpr const char* kNames[] = {"matmul",        "conv", "conv_src_grad", "conv_weight_grad", "avg_pool",
                                  "avg_pool_grad", "scan", "sort",          "attention",        "attention_grad"};
static_assert(std::size(kNames) == static_cast<size_t>(NamedKind::AttentionGrad) + 1);

std::string list_of(const Dims& d) {
  std::string s = "[";
  for (int i = 0; i < d.size(); ++i) s += (i ? ", " : "") + std::to_string(d[i]);
  return s + "]";
}

/// Which operands a kind has, in order.
struct Signature {
  int required, total;
  const char* operands[kMaxOperands];
};

Signature signature_of(NamedKind kind) {
  switch (kind) {
    case NamedKind::Matmul:
      return {3, 4, {"dst", "lhs", "rhs", "bias"}};
    case NamedKind::Conv:
      return {3, 4, {"dst", "src", "weight", "bias"}};
    case NamedKind::ConvSrcGrad:
      return {3, 3, {"dst", "grad", "weight"}};
    case NamedKind::ConvWeightGrad:
      return {3, 3, {"dst", "grad", "src"}};
    case NamedKind::AvgPool:
      return {2, 2, {"dst", "src"}};
    case NamedKind::AvgPoolGrad:
      return {2, 2, {"dst", "grad"}};
    case NamedKind::Scan:
      return {2, 3, {"dst", "src", "indices"}};
    case NamedKind::Sort:
      return {3, 3, {"values", "indices", "src"}};
    case NamedKind::Attention:
      return {5, 6, {"dst", "logsumexp", "q", "k", "v", "mask"}};
    case NamedKind::AttentionGrad:
      return {9, 10, {"dq", "dk", "dv", "grad", "q", "k", "v", "dst", "logsumexp", "mask"}};
  }
  throw Error(ErrorKind::Internal, "[ir] unknown kind of Named");
}

/// Operands that may be absent though others follow.
bool optional(NamedKind kind, int operand) {
  return kind == NamedKind::Attention && operand == 1;
}

class Verifier {
 public:
  explicit Verifier(const Named& n) : n_(n) {}

  void run() {
    const Signature sig = signature_of(n_.kind);
    const int count = static_cast<int>(n_.operands.size());
    require(count >= sig.required && count <= sig.total, std::to_string(count) + " operands");
    for (int i = 0; i < count; ++i) {
      const Operand& o = n_.operands[i];
      const std::string name = sig.operands[i];
      require(o.slot >= 0 || i >= sig.required || optional(n_.kind, i), name + " has no slot");
      if (o.slot < 0) continue;
      require(o.sizes.size() == o.strides.size(),
              name + " has " + std::to_string(o.strides.size()) + " strides for " + std::to_string(o.rank()) + " sizes");
      for (int64_t s : o.sizes) require(s >= 0, name + " has a negative size");
      if (o.block > 1) blocked(i, name);
      require(!is_complex(o.dtype), name + " is complex");
    }
    switch (n_.kind) {
      case NamedKind::Matmul:
        return matmul();
      case NamedKind::Conv:
        return conv(at(0), at(1), at(2), true);
      case NamedKind::ConvSrcGrad:
        return conv(at(1), at(0), at(2), false);
      case NamedKind::ConvWeightGrad:
        return conv(at(1), at(2), at(0), false);
      case NamedKind::AvgPool:
        return pool(at(0), at(1));
      case NamedKind::AvgPoolGrad:
        return pool(at(1), at(0));
      case NamedKind::Scan:
        return scan();
      case NamedKind::Sort:
        return sort();
      case NamedKind::Attention:
        return attention(at(0), at(2), at(3), at(4), 1, 5);
      case NamedKind::AttentionGrad:
        require(at(0).sizes == at(4).sizes && at(1).sizes == at(5).sizes && at(2).sizes == at(6).sizes && at(3).sizes == at(7).sizes,
                "a gradient is not of the sizes of what it is the gradient of");
        for (int i : {0, 1, 2, 3}) require(at(i).dtype == at(7).dtype, "operands of several dtypes");
        return attention(at(7), at(4), at(5), at(6), 8, 9);
    }
  }

 private:
  void require(bool ok, const std::string& what) const {
    if (!ok) throw Error(ErrorKind::Internal, "[ir] ill-formed Named: " + what + "\n" + to_string(n_));
  }
  void blocked(int i, const std::string& name) const {
    const Operand& o = n_.operands[i];
    const bool weight = i == (n_.kind == NamedKind::ConvWeightGrad ? 0 : 2) || i == 3;
    const bool conv = n_.kind == NamedKind::Conv || n_.kind == NamedKind::ConvSrcGrad || n_.kind == NamedKind::ConvWeightGrad;
    require(conv && !weight && o.rank() > 2, name + " cannot lie in blocks");
    require(o.strides == contiguous_strides(o.sizes) && o.sizes[1] % o.block == 0 && o.offset % (o.block * o.strides[1]) == 0,
            name + " does not consist of whole blocks of " + std::to_string(o.block) + " channels");
  }
  const Operand& at(int i) const { return n_.operands[i]; }
  bool has(int i) const { return i < static_cast<int>(n_.operands.size()) && n_.operands[i].slot >= 0; }
  void same_dtype() const {
    for (const Operand& o : n_.operands) require(o.slot < 0 || o.dtype == at(0).dtype, "operands of several dtypes");
    require(at(0).dtype != DType::Bool, "it has no arithmetic on bool");
  }

  void matmul() const {
    require(at(0).dtype != DType::Bool, "it has no arithmetic on bool");
    for (int i = 1; i < static_cast<int>(n_.operands.size()); ++i) {
      const bool fits = at(i).dtype == at(0).dtype || (is_float(at(0).dtype) && compute_type(at(i).dtype) == compute_type(at(0).dtype));
      require(!has(i) || fits, "operands of several dtypes");
    }
    const Operand &dst = at(0), &lhs = at(1), &rhs = at(2);
    const int r = dst.rank();
    require(r >= 2 && lhs.rank() == r && rhs.rank() == r, "matrices need one rank of at least 2");
    for (int d = 0; d < r - 2; ++d) require(lhs.sizes[d] == dst.sizes[d] && rhs.sizes[d] == dst.sizes[d], "batch sizes differ");
    require(lhs.sizes[r - 2] == dst.sizes[r - 2] && rhs.sizes[r - 1] == dst.sizes[r - 1], "rows or columns differ");
    require(lhs.sizes[r - 1] == rhs.sizes[r - 2], "inner sizes differ");
    if (has(3)) require(at(3).sizes == dst.sizes, "bias is not of dst's sizes");
  }

  void windows(int spatial, bool dilated) const {
    const NamedAttrs& a = n_.attrs;
    require(a.stride.size() == spatial && a.padding.size() == spatial, "stride and padding need one entry per spatial dimension");
    if (dilated) require(a.dilation.size() == spatial, "dilation needs one entry per spatial dimension");
    for (int d = 0; d < spatial; ++d) {
      require(a.stride[d] > 0 && a.padding[d] >= 0 && (!dilated || a.dilation[d] > 0),
              "stride and dilation must be positive, padding not negative");
    }
  }

  void conv(const Operand& dst, const Operand& src, const Operand& weight, bool biased) const {
    same_dtype();
    const int r = dst.rank();
    require(r >= 3 && src.rank() == r && weight.rank() == r, "convolution needs one rank of at least 3");
    windows(r - 2, true);
    const int64_t groups = n_.attrs.groups;
    require(groups > 0 && dst.sizes[1] % groups == 0 && src.sizes[1] % groups == 0, "channels are not a multiple of groups");
    require(dst.sizes[0] == src.sizes[0], "batch sizes differ");
    require(weight.sizes[0] == dst.sizes[1] && weight.sizes[1] == src.sizes[1] / groups, "weight's channels do not fit");
    // The last window must start where the padded source ends at the latest; how far it reaches beyond is the caller's matter
    // (output_padding makes it reach too short, never too far).
    for (int d = 0; d < r - 2; ++d) {
      if (dst.sizes[2 + d] == 0 || weight.sizes[2 + d] == 0) continue;
      const int64_t last = (dst.sizes[2 + d] - 1) * n_.attrs.stride[d] + (weight.sizes[2 + d] - 1) * n_.attrs.dilation[d];
      require(last < src.sizes[2 + d] + 2 * n_.attrs.padding[d],
              "windows reach beyond the padded source in spatial dimension " + std::to_string(d));
    }
    if (biased && has(3)) require(at(3).rank() == 1 && at(3).sizes[0] == dst.sizes[1], "bias is not one value per output channel");
  }

  void pool(const Operand& dst, const Operand& src) const {
    same_dtype();
    const int r = dst.rank();
    require(r >= 3 && src.rank() == r, "pooling needs one rank of at least 3");
    require(dst.sizes[0] == src.sizes[0] && dst.sizes[1] == src.sizes[1], "batch or channel sizes differ");
    windows(r - 2, false);
    require(n_.attrs.kernel.size() == r - 2, "kernel needs one entry per spatial dimension");
    for (int64_t k : n_.attrs.kernel) require(k > 0, "kernel must be positive");
  }

  void along_axis(const Operand& src) const {
    require(n_.attrs.axis >= 0 && n_.attrs.axis < src.rank(), "axis " + std::to_string(n_.attrs.axis) + " is not a dimension");
    for (const Operand& o : n_.operands) require(o.slot < 0 || o.sizes == src.sizes, "operands of several sizes");
  }

  void scan() const {
    along_axis(at(1));
    const ScanKind kind = n_.attrs.scan;
    const bool extremum = kind == ScanKind::Max || kind == ScanKind::Min;
    require(kind <= ScanKind::LogAddExp, "unknown kind of scan");
    if (extremum) require(at(0).dtype == at(1).dtype, "dst and src of two dtypes");
    if (kind == ScanKind::LogAddExp) require(is_float(at(0).dtype) && is_float(at(1).dtype), "logaddexp of what is no float");
    require(!has(2) || (extremum && at(2).dtype == DType::I64), "indices must be i64, and belong to max and min only");
  }

  void sort() const {
    along_axis(at(2));
    require(at(0).dtype == at(2).dtype, "values and src of two dtypes");
    require(at(1).dtype == DType::I64, "indices are not i64");
  }

  void attention(const Operand& dst, const Operand& q, const Operand& k, const Operand& v, int logsumexp, int mask) const {
    for (const Operand* o : {&dst, &q, &k, &v}) {
      require(o->rank() == 4, "attention needs rank 4");
      require(o->dtype == dst.dtype && is_float(o->dtype), "dst, q, k and v need one floating dtype");
      require(o->sizes[0] == dst.sizes[0], "batch sizes differ");
    }
    const Dims rows{dst.sizes[0], dst.sizes[1], dst.sizes[2]};
    require(q.sizes[1] == rows[1] && q.sizes[2] == rows[2] && q.sizes[3] == k.sizes[3], "q does not fit dst or k");
    require(k.sizes[1] == v.sizes[1] && k.sizes[2] == v.sizes[2] && v.sizes[3] == dst.sizes[3], "v does not fit k or dst");
    require(k.sizes[1] > 0 ? rows[1] % k.sizes[1] == 0 : rows[1] == 0, "q's heads are not a multiple of k's");
    if (has(logsumexp)) {
      require(at(logsumexp).sizes == rows && at(logsumexp).dtype == compute_type(dst.dtype), "logsumexp is not one value a query");
    }
    if (has(mask)) {
      require(at(mask).dtype == dst.dtype || at(mask).dtype == DType::Bool, "mask is neither bool nor of dst's dtype");
      require(at(mask).sizes == Dims{rows[0], rows[1], rows[2], k.sizes[2]}, "mask is not one value a score");
    }
  }

  const Named& n_;
};

/// Whether indexing [0, sizes) with these strides leaves no element out between the first and the last.
bool without_gaps(const Dims& sizes, const Dims& strides) {
  std::vector<std::pair<int64_t, int64_t>> walked;  // stride, size
  for (int d = 0; d < sizes.size(); ++d)
    if (sizes[d] > 1 && strides[d] != 0) walked.emplace_back(std::abs(strides[d]), sizes[d]);
  std::sort(walked.begin(), walked.end());
  int64_t run = 1;  // elements in a row so far
  for (const auto& [stride, size] : walked) {
    if (stride > run) return false;
    run += stride * (size - 1);
  }
  return true;
}

/// How a step goes through an access: it reads; writes each index's element; or writes some of them (guarded, or combined with what is
/// there).
enum class Way { Read, Write, WriteSome };

/// Adds the bytes that indexing [0, sizes) with strides from offset reaches, with a computed offset any; nothing where a size is 0.
void touch(std::vector<Touch>& out, int32_t slot, DType t, int64_t offset, const Dims& sizes, const Dims& strides, bool computed, Way way) {
  if (computed) {
    out.push_back({slot, 0, std::numeric_limits<int64_t>::max(), way != Way::Read});
    return;
  }
  int64_t lo = offset, hi = offset;
  for (int d = 0; d < sizes.size(); ++d) {
    if (sizes[d] == 0) return;
    (strides[d] < 0 ? lo : hi) += (sizes[d] - 1) * strides[d];
  }
  const bool covers = way == Way::Write && without_gaps(sizes, strides);
  out.push_back({slot, lo * size_of(t), (hi + 1) * size_of(t), way != Way::Read, covers});
}

std::vector<Touch> touches(const Generic& g) {
  std::vector<Touch> out;
  Dims written = g.sizes;  // a store that is made once per parallel index is made even if nothing is reduced
  bool empty = false;
  for (int d = 0; d < g.rank(); ++d) {
    if (g.reduces(d) && g.sizes[d] == 0) written[d] = 1;
    empty |= written[d] == 0;
  }
  if (empty) return out;
  const std::vector<bool> full = stored_at_every_index(g);
  // Loads of one access, with no computed offset in any of them, are one touch.
  std::vector<int> load(g.accesses.size(), 0);  // 1: plain, 2: computed
  for (const Node& n : g.body.nodes()) {
    if (n.op == ExprOp::Load) load[n.a] = std::max(load[n.a], n.b >= 0 ? 2 : 1);
  }
  for (size_t i = 0; i < g.accesses.size(); ++i) {
    const Access& a = g.accesses[i];
    // What varies with nothing is loaded even where the reduction space is empty.
    Dims read = g.sizes;
    for (int d = 0; d < g.rank(); ++d) {
      if (a.strides[d] == 0) read[d] = written[d];
    }
    if (load[i]) touch(out, a.slot, a.dtype, a.offset, read, a.strides, load[i] == 2, Way::Read);
  }
  for (size_t i = 0; i < g.stores.size(); ++i) {
    const Store& s = g.stores[i];
    const Access& a = g.accesses[s.access];
    const Dims& sizes = full[i] ? g.sizes : written;
    const bool some = s.guard >= 0 || s.combine != Combine::None;
    if (s.combine != Combine::None) touch(out, a.slot, a.dtype, a.offset, sizes, a.strides, s.index >= 0, Way::Read);
    touch(out, a.slot, a.dtype, a.offset, sizes, a.strides, s.index >= 0, some ? Way::WriteSome : Way::Write);
  }
  return out;
}

std::vector<Touch> touches(const Refused& r) {
  return r.touches;
}

std::vector<Touch> touches(const Named& n) {
  std::vector<Touch> out;
  for (int i = 0; i < static_cast<int>(n.operands.size()); ++i) {
    const Operand& o = n.operands[i];
    if (o.slot >= 0) touch(out, o.slot, o.dtype, o.offset, o.sizes, o.strides, false, writes(n.kind, i) ? Way::Write : Way::Read);
  }
  return out;
}

}  // namespace

bool writes(NamedKind kind, int operand) {
  if (kind == NamedKind::AttentionGrad) return operand < 3;
  const bool second = kind == NamedKind::Sort || kind == NamedKind::Attention;
  return operand == 0 || (second && operand == 1) || (kind == NamedKind::Scan && operand == 2);
}

const char* name_of(NamedKind kind) {
  const auto i = static_cast<size_t>(kind);
  return i < std::size(kNames) ? kNames[i] : "unknown";
}

void verify(const Named& n) {
  Verifier(n).run();
}

// conv "conv2d" stride [1, 1] padding [0, 0] dilation [1, 1] groups 1
//   dst = slot 0 f32 + 0 sizes [1, 2, 3, 3] strides [18, 9, 3, 1]
std::string to_string(const Named& n) {
  std::string s = std::string(name_of(n.kind)) + " \"" + n.name + "\"";
  const NamedAttrs& a = n.attrs;
  switch (n.kind) {
    case NamedKind::Matmul:
      break;
    case NamedKind::Conv:
    case NamedKind::ConvSrcGrad:
    case NamedKind::ConvWeightGrad:
      s += " stride " + list_of(a.stride) + " padding " + list_of(a.padding) + " dilation " + list_of(a.dilation) + " groups " +
           std::to_string(a.groups);
      break;
    case NamedKind::AvgPool:
    case NamedKind::AvgPoolGrad:
      s += " kernel " + list_of(a.kernel) + " stride " + list_of(a.stride) + " padding " + list_of(a.padding);
      if (a.divisor_override) s += " divisor " + std::to_string(a.divisor_override);
      if (!a.count_include_pad) s += " without padding";
      break;
    case NamedKind::Scan: {
      constexpr const char* kinds[] = {"sum", "prod", "max", "min", "logaddexp"};
      s += std::string(" ") + (a.scan <= ScanKind::LogAddExp ? kinds[static_cast<int>(a.scan)] : "unknown") + " axis " +
           std::to_string(a.axis);
      break;
    }
    case NamedKind::Sort:
      s += std::string(a.descending ? " descending" : " ascending") + " axis " + std::to_string(a.axis);
      break;
    case NamedKind::Attention:
    case NamedKind::AttentionGrad:
      s += " scale " + std::to_string(a.scale) + (a.causal ? " causal" : "");
      break;
  }
  s += "\n";
  const Signature sig = signature_of(n.kind);
  for (size_t i = 0; i < n.operands.size(); ++i) {
    const Operand& o = n.operands[i];
    s += std::string("  ") + (i < kMaxOperands && sig.operands[i] ? sig.operands[i] : "extra") + " = ";
    if (o.slot < 0) {
      s += "none\n";
      continue;
    }
    s += "slot " + std::to_string(o.slot) + " " + anygpu::name_of(o.dtype) + " + " + std::to_string(o.offset) + " sizes " +
         list_of(o.sizes) + " strides " + list_of(o.strides) + (o.block > 1 ? " in blocks of " + std::to_string(o.block) : "") + "\n";
  }
  return s;
}

std::string to_string(const Refused& r) {
  return std::string("refused \"") + r.name + "\": " + r.error.what() + "\n";
}

std::string to_string(const Step& step) {
  return std::visit([](const auto& s) { return to_string(s); }, step);
}

std::vector<Touch> touches(const Step& step) {
  return std::visit([](const auto& s) { return touches(s); }, step);
}

}  // namespace anygpu::ir
