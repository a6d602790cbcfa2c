// Matmul: any rank, any strides, through oneDNN's matmul. Before oneDNN sees it, batch dimensions are joined where memory allows,
// and a matrix that all of a batch shares takes the batch as rows: [B, T, K] @ [K, N] is one product of B*T rows.
#include <optional>

#include "backends/cpu/library/module/execution.h"
#include "backends/cpu/library/module/gemv.h"
#include "backends/cpu/library/module/nameds.h"
#include "backends/cpu/library/module/team.h"

namespace anygpu::cpu {
namespace {

constexpr int kDst = 0, kLhs = 1, kRhs = 2, kBias = 3;
constexpr int kMaxBatchDims = 8;  // oneDNN takes 12 dimensions in all
constexpr double kAlone = 5e5;    // multiplications that one thread does alone

/// A stack of matrices. Batch strides are 0 where it is repeated.
struct Matrices {
  int32_t slot = -1;
  int64_t offset = 0;
  Dims batch;
  int64_t row = 0, column = 0;  // strides
};

struct MatmulProblem {
  DType dtype;
  Dims batch;
  int64_t m, n, k;
  Matrices arrays[4];
  bool has_bias;
  int count() const { return has_bias ? 4 : 3; }
};

MatmulProblem problem_of(const ir::Named& named) {
  const ir::Operand& dst = named.operands[kDst];
  const ir::Operand& lhs = named.operands[kLhs];
  int rank = dst.rank();
  MatmulProblem p{dst.dtype, {}, dst.sizes[rank - 2], dst.sizes[rank - 1], lhs.sizes[rank - 1], {}, false};
  p.has_bias = named.operands.size() > kBias && named.operands[kBias].slot >= 0;
  for (int d = 0; d < rank - 2; ++d) {
    if (dst.sizes[d] != 1) p.batch.push_back(dst.sizes[d]);
  }
  for (int i = 0; i < p.count(); ++i) {
    const ir::Operand& o = named.operands[i];
    Matrices& a = p.arrays[i];
    a.slot = o.slot;
    a.offset = o.offset;
    for (int d = 0; d < rank - 2; ++d) {
      if (dst.sizes[d] != 1) a.batch.push_back(o.sizes[d] == 1 ? 0 : o.strides[d]);
    }
    auto stride = [&](int d) { return o.sizes[d] == 1 && dst.sizes[d] != 1 && i == kBias ? 0 : o.strides[d]; };
    a.row = stride(rank - 2);
    a.column = stride(rank - 1);
  }
  return p;
}

void join_batch_dims(MatmulProblem& p) {
  for (int d = p.batch.size() - 2; d >= 0; --d) {
    bool joins = true;
    for (int i = 0; i < p.count(); ++i) {
      const Dims& s = p.arrays[i].batch;
      joins = joins && s[d] == s[d + 1] * p.batch[d + 1];
    }
    if (!joins) continue;
    p.batch[d] *= p.batch[d + 1];
    p.batch.erase(d + 1);
    for (int i = 0; i < p.count(); ++i) {
      p.arrays[i].batch[d] = p.arrays[i].batch[d + 1];
      p.arrays[i].batch.erase(d + 1);
    }
  }
}

/// Takes batch dimensions that rhs does not vary along as rows, from the innermost.
void batch_to_rows(MatmulProblem& p) {
  while (!p.batch.empty() && p.arrays[kRhs].batch.back() == 0) {
    int d = p.batch.size() - 1;
    for (int i : {kDst, kLhs, kBias}) {
      if (i == kBias && !p.has_bias) continue;
      const Matrices& a = p.arrays[i];
      if (p.m != 1 && a.batch[d] != a.row * p.m) return;  // a repeated bias row is 0 == 0
    }
    for (int i = 0; i < p.count(); ++i) {
      if (p.m == 1 && i != kRhs) p.arrays[i].row = p.arrays[i].batch[d];
      p.arrays[i].batch.pop_back();
    }
    p.m *= p.batch[d];
    p.batch.pop_back();
  }
}

/// dst^T = rhs^T @ lhs^T, where dst lies transposed in memory.
void transpose(MatmulProblem& p) {
  std::swap(p.arrays[kLhs], p.arrays[kRhs]);
  std::swap(p.m, p.n);
  for (Matrices& a : p.arrays) std::swap(a.row, a.column);
}

/// The operand as oneDNN is told of it: batch dimensions along which it repeats have size 1 there.
ArrayRef array_for(const MatmulProblem& p, int i, int64_t rows, int64_t columns) {
  const Matrices& a = p.arrays[i];
  ArrayRef r{a.slot, p.dtype, a.offset, {}, {}};
  for (int d = 0; d < p.batch.size(); ++d) {
    // oneDNN takes no batch dimension that both factors repeat along: there one of them is copied.
    bool repeats = a.batch[d] == 0 && (i == kRhs || (i == kLhs && p.arrays[kRhs].batch[d] != 0));
    r.sizes.push_back(repeats ? 1 : p.batch[d]);
    r.strides.push_back(a.batch[d]);
  }
  r.sizes.push_back(rows);
  r.sizes.push_back(columns);
  r.strides.push_back(a.row);
  r.strides.push_back(a.column);
  return r;
}

/// Where neither rows nor columns are dense, oneDNN would fall back to its reference implementation: a copy is faster.
void settle(ArrayRef& a) {
  settle_unit_strides(a);
  int r = a.sizes.size() - 2, c = r + 1;
  if (a.sizes[r] > 1 && a.sizes[c] > 1 && a.strides[r] != 1 && a.strides[c] != 1) a.dense_copy = true;
  // A single row of a stride is a column of a transposed matrix.
  if (a.sizes[r] == 1 && a.sizes[c] > 1 && a.strides[c] > 1) a.strides[r] = 1;
}

/// Null where it is none, or not one that is faster so.
std::unique_ptr<PreparedNamed> as_gemv(const MatmulProblem& p) {
  if (p.dtype != DType::F32 || (p.m != 1 && p.n != 1)) return nullptr;
  const bool row = p.m == 1;  // dst is one row: its matrix is rhs, transposed
  auto array = [&](int i, int64_t along_rows, int64_t along_depth) {
    const Matrices& a = p.arrays[i];
    return Gemv::Array{a.slot, a.offset, a.batch, along_rows, along_depth};
  };
  auto line = [&](int i) { return array(i, row ? p.arrays[i].column : p.arrays[i].row, 0); };
  const Matrices &lhs = p.arrays[kLhs], &rhs = p.arrays[kRhs];
  Gemv g{p.batch,
         row ? p.n : p.m,
         p.k,
         line(kDst),
         row ? array(kRhs, rhs.column, rhs.row) : array(kLhs, lhs.row, lhs.column),
         row ? array(kLhs, 0, lhs.column) : array(kRhs, 0, rhs.row),
         {}};
  if (p.has_bias) g.bias = line(kBias);
  return make_gemv(g);
}

bool is_row_bias(const MatmulProblem& p) {
  const Matrices& b = p.arrays[kBias];
  for (int64_t s : b.batch) {
    if (s != 0) return false;
  }
  return p.m == 1 || b.row == 0;
}

MatmulProblem simplified(const ir::Named& named) {
  MatmulProblem p = problem_of(named);
  const Matrices& dst = p.arrays[kDst];
  if (p.n > 1 && p.m > 1 && dst.column != 1 && dst.row == 1) transpose(p);
  join_batch_dims(p);
  batch_to_rows(p);
  return p;
}

}  // namespace

bool supports_matmul(const ir::Named& named) {
  const ir::Operand& dst = named.operands[kDst];
  if (dst.rank() < 2 || !onednn::computes(dst.dtype)) return false;
  for (const ir::Operand& o : named.operands) {
    if (o.slot >= 0 && (o.dtype != dst.dtype || o.rank() != dst.rank())) return false;
  }
  return simplified(named).batch.size() <= kMaxBatchDims;
}

std::unique_ptr<PreparedNamed> prepare_matmul(const ir::Named& named) {
  MatmulProblem p = simplified(named);
  ArrayRef dst = array_for(p, kDst, p.m, p.n);
  ArrayRef bias{};
  if (p.has_bias) bias = array_for(p, kBias, p.m, p.n);
  if (p.k == 0 || product(dst.sizes) == 0) return make_fill(dst, p.has_bias ? &bias : nullptr);

  if (std::unique_ptr<PreparedNamed> gemv = as_gemv(p)) return gemv;

  ArrayRef lhs = array_for(p, kLhs, p.m, p.k);
  ArrayRef rhs = array_for(p, kRhs, p.k, p.n);
  for (ArrayRef* a : {&dst, &lhs, &rhs}) settle(*a);
  // Below some ten microseconds of work, waking others costs more than they do.
  const double work =
      static_cast<double>(product(p.batch)) * static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k);
  const int threads = work < kAlone ? 1 : team_threads();
  TeamScope scope(threads);
  auto execution = std::make_unique<Execution>("matmul", threads);
  translate("matmul", "prepare", [&] {
    std::optional<onednn::Desc> bias_desc;
    ArrayRef row{};
    bool row_bias = p.has_bias && is_row_bias(p);
    if (row_bias) {
      row = bias;
      row.sizes = Dims::filled(dst.sizes.size(), 1);
      row.sizes[row.sizes.size() - 1] = p.n;
      settle_unit_strides(row);
      row.dense_copy = p.n > 1 && row.strides[row.sizes.size() - 1] != 1;
      bias_desc = plain_desc(row);
    } else if (p.has_bias) {
      execution->start_output_from(bias);
    }
    auto desc = onednn::matmul_desc(plain_desc(lhs), plain_desc(rhs), bias_desc ? &*bias_desc : nullptr, plain_desc(dst),
                                    onednn::attributes(p.has_bias && !row_bias));
    execution->output(DNNL_ARG_DST, dst, plain_desc(dst));
    execution->input(DNNL_ARG_SRC, lhs, plain_desc(lhs));
    execution->input(DNNL_ARG_WEIGHTS, rhs, plain_desc(rhs));
    if (row_bias) execution->input(DNNL_ARG_BIAS, row, plain_desc(row));
    execution->finish(dnnl::matmul(desc), desc.scratchpad_desc());
  });
  return execution;
}

}  // namespace anygpu::cpu
