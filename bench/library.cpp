// GFLOP/s of the CPU backend's library, by shape: `anygpu_bench_library [seconds per line]`. The best run of each counts.
// With ANYGPU_NUM_THREADS=1 processor time is measured, so that a busy machine does not blur it.
#include "backends/cpu/library/library.h"

#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

namespace {

using namespace anygpu;
using ir::NamedKind;
using ir::Operand;

double seconds_a_line = 0.3;

double best_us(const std::function<void()>& f) {
  const clockid_t clock = cpu::library().threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  auto now = [&] {
    timespec t;
    clock_gettime(clock, &t);
    return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) * 1e-3;
  };
  f();
  double best = 1e300, start = now();
  do {
    double t = now();
    f();
    best = std::min(best, now() - t);
  } while (now() - start < seconds_a_line * 1e6);
  return best;
}

Operand operand(int slot, DType t, const Dims& sizes, const Dims& strides) {
  return {slot, t, 0, sizes, strides};
}
Operand dense(int slot, DType t, const Dims& sizes) {
  return operand(slot, t, sizes, contiguous_strides(sizes));
}

/// What one line says: the time of one run, of the first prepare(), and `work` a second in 1e9.
void measure(const std::string& what, const ir::Named& named, double work, const char* unit) {
  std::vector<std::vector<char>> bytes;
  std::vector<Memory> slots;
  for (const Operand& o : named.operands) {
    int64_t last = 1;
    for (int d = 0; d < o.rank(); ++d) last += (o.sizes[d] - 1) * o.strides[d];
    bytes.emplace_back(last * size_of(o.dtype));
    if (o.dtype == DType::F32) {
      for (int64_t i = 0; i < last; ++i) reinterpret_cast<float*>(bytes.back().data())[i] = static_cast<float>(i * 7919 % 1000003) * 1e-6f;
    }
    if (o.dtype == DType::I64) {
      for (int64_t i = 0; i < last; ++i) reinterpret_cast<int64_t*>(bytes.back().data())[i] = i * 0x9e3779b97f4a7c15 % (int64_t{1} << 40);
    }
    slots.push_back({bytes.back().data(), 0, static_cast<int64_t>(bytes.back().size())});
  }
  if (!cpu::library().supports(named)) {
    std::printf("%-52s not supported\n", what.c_str());
    return;
  }
  auto t = std::chrono::steady_clock::now();
  std::unique_ptr<cpu::PreparedNamed> prepared = cpu::library().prepare(named);
  double prepare = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - t).count();
  double us = best_us([&] { prepared->run(slots.data()); });
  std::printf("%-52s %10.1f us %8.1f %s   (prepared in %.0f us)\n", what.c_str(), us, work / us / 1e3, unit, prepare);
}

void matmul(const Dims& batch, int64_t m, int64_t n, int64_t k, bool lhs_transposed, bool rhs_transposed, DType t = DType::F32) {
  auto sizes = [&](int64_t rows, int64_t columns) {
    Dims d = batch;
    d.push_back(rows);
    d.push_back(columns);
    return d;
  };
  auto layout = [&](int slot, int64_t rows, int64_t columns, bool transposed) {
    Operand o = dense(slot, t, transposed ? sizes(columns, rows) : sizes(rows, columns));
    int r = o.rank();
    if (transposed) std::swap(o.strides[r - 1], o.strides[r - 2]);
    o.sizes = sizes(rows, columns);
    return o;
  };
  ir::Named named{NamedKind::Matmul, {dense(0, t, sizes(m, n)), layout(1, m, k, lhs_transposed), layout(2, k, n, rhs_transposed)}, {}, ""};
  std::string what = std::string("matmul ") + name_of(t) + " ";
  for (int64_t b : batch) what += std::to_string(b) + "x";
  what += std::to_string(m) + "x" + std::to_string(k) + (lhs_transposed ? "^T" : "") + " @ " + std::to_string(k) + "x" + std::to_string(n) +
          (rhs_transposed ? "^T" : "");
  measure(what, named, 2.0 * static_cast<double>(product(batch) * m * n * k), "GFLOP/s");
}

void convolution(int64_t batch, int64_t in, int64_t size, int64_t out, int64_t kernel, int64_t stride, int64_t groups = 1,
                 DType t = DType::F32) {
  int64_t padding = kernel / 2, o = (size + 2 * padding - kernel) / stride + 1;
  Dims src{batch, in, size, size}, weight{out, in / groups, kernel, kernel}, dst{batch, out, o, o};
  double work = 2.0 * static_cast<double>(product(dst) * product(weight)) / static_cast<double>(out);
  std::string what = std::string(name_of(t)) + " " + std::to_string(batch) + "x" + std::to_string(in) + "x" + std::to_string(size) + "x" +
                     std::to_string(size) + " -> " + std::to_string(out) + " " + std::to_string(kernel) + "x" + std::to_string(kernel) +
                     (stride > 1 ? " stride " + std::to_string(stride) : "") + (groups > 1 ? " groups " + std::to_string(groups) : "");
  ir::NamedAttrs attrs;
  attrs.stride = {stride, stride};
  attrs.padding = {padding, padding};
  attrs.dilation = {1, 1};
  attrs.groups = groups;
  measure("conv " + what, {NamedKind::Conv, {dense(0, t, dst), dense(1, t, src), dense(2, t, weight), dense(3, t, {out})}, attrs, ""}, work,
          "GFLOP/s");
  measure("  grad of src", {NamedKind::ConvSrcGrad, {dense(0, t, src), dense(1, t, dst), dense(2, t, weight)}, attrs, ""}, work, "GFLOP/s");
  measure("  grad of weight", {NamedKind::ConvWeightGrad, {dense(0, t, weight), dense(1, t, dst), dense(2, t, src)}, attrs, ""}, work,
          "GFLOP/s");
}

void average_pool(int64_t batch, int64_t channels, int64_t size, int64_t kernel) {
  Dims src{batch, channels, size, size}, dst{batch, channels, size / kernel, size / kernel};
  ir::NamedAttrs attrs;
  attrs.kernel = attrs.stride = {kernel, kernel};
  attrs.padding = {0, 0};
  std::string what = std::to_string(batch) + "x" + std::to_string(channels) + "x" + std::to_string(size) + "x" + std::to_string(size) +
                     " " + std::to_string(kernel) + "x" + std::to_string(kernel);
  double bytes = 4.0 * static_cast<double>(product(src) + product(dst));
  measure("avg_pool " + what, {NamedKind::AvgPool, {dense(0, DType::F32, dst), dense(1, DType::F32, src)}, attrs, ""}, bytes, "GB/s");
  measure("  grad", {NamedKind::AvgPoolGrad, {dense(0, DType::F32, src), dense(1, DType::F32, dst)}, attrs, ""}, bytes, "GB/s");
}

void rows(NamedKind kind, const Dims& sizes, int axis, DType t, const char* name) {
  ir::Named named{kind, {}, {}, ""};
  named.attrs.axis = axis;
  if (kind == NamedKind::Scan)
    named.operands = {dense(0, t, sizes), dense(1, t, sizes)};
  else
    named.operands = {dense(0, t, sizes), dense(1, DType::I64, sizes), dense(2, t, sizes)};
  std::string what = std::string(name) + " " + name_of(t) + " ";
  for (int d = 0; d < sizes.size(); ++d) what += (d ? "x" : "") + std::to_string(sizes[d]);
  measure(what + " axis " + std::to_string(axis), named, static_cast<double>(product(sizes)), "G elements/s");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) seconds_a_line = std::atof(argv[1]);
  std::printf("%s, %d threads\n", cpu::library().version().c_str(), cpu::library().threads());
  measure("matmul 4x4x4 (the cost of a call)",
          {NamedKind::Matmul, {dense(0, DType::F32, {4, 4}), dense(1, DType::F32, {4, 4}), dense(2, DType::F32, {4, 4})}, {}, ""}, 128,
          "GFLOP/s");
  for (int t = 0; t < 4; ++t) matmul({}, 128, 512, 784, t & 1, t & 2);
  for (int t = 0; t < 4; ++t) matmul({}, 1024, 768, 192, t & 1, t & 2);
  for (int t = 0; t < 4; ++t) matmul({}, 1024, 1024, 1024, t & 1, t & 2);
  for (int t = 0; t < 3; ++t) matmul({48}, 128, 128, 32, t & 1, t & 2);
  matmul({48}, 128, 32, 128, false, false);
  matmul({}, 1, 1024, 1024, false, false);
  matmul({}, 1, 1024, 1024, false, true);
  matmul({}, 1024, 1, 1024, false, false);
  matmul({}, 128, 10, 512, false, true);
  matmul({}, 64, 64, 64, false, false);
  matmul({}, 1024, 1024, 1024, false, false, DType::BF16);
  convolution(32, 3, 32, 32, 3, 1);
  convolution(32, 1, 28, 32, 3, 1);
  convolution(32, 32, 32, 32, 3, 1);
  convolution(32, 64, 16, 128, 3, 2);
  convolution(8, 64, 56, 64, 1, 1);
  convolution(8, 3, 224, 64, 7, 2);
  convolution(32, 64, 16, 64, 3, 1, 64);
  convolution(32, 32, 32, 32, 3, 1, 1, DType::BF16);
  average_pool(32, 64, 32, 2);
  average_pool(32, 512, 7, 7);
  for (int axis : {0, 1}) rows(NamedKind::Scan, {1024, 1024}, axis, DType::F32, "cumsum");
  rows(NamedKind::Scan, {1 << 20}, 0, DType::F32, "cumsum");
  for (int axis : {0, 1}) rows(NamedKind::Sort, {1024, 1024}, axis, DType::F32, "sort");
  rows(NamedKind::Sort, {65536, 16}, 1, DType::F32, "sort");
  rows(NamedKind::Sort, {1 << 20}, 0, DType::F32, "sort");
  rows(NamedKind::Sort, {1 << 20}, 0, DType::I64, "sort");
}
