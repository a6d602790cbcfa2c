// Nameds with odd strides, offsets, groups, padding and dilation: as the backend does them, and as ir::lower spells them out.
#include <cmath>

#include "conformance.h"

namespace anygpu::conformance {
namespace {

using ir::Named;
using ir::NamedKind;
using ir::Operand;
using ir::ScanKind;

constexpr DType kProducts[] = {DType::F16, DType::BF16, DType::F32, DType::F64, DType::I8, DType::U8, DType::I32, DType::I64};

/// How far a sum of n products of values below 2 may be off, accumulated in the compute type.
Tolerance of_sum(DType t, int64_t n) {
  return is_float(t) ? Tolerance{1, 2 * static_cast<double>(n) * epsilon(compute_type(t)) * 4} : Tolerance{};
}

Fill fill_of(DType t) {
  return is_float(t) ? Fill::Plain : Fill::Small;
}

TEST_P(Conformance, Matmul) {
  Maker m(301);
  struct Shape {
    Dims batch;
    int64_t rows, inner, columns;
  };
  const Shape shapes[] = {{{}, 1, 1, 1},  {{}, 3, 5, 7},     {{}, 17, 65, 33}, {{}, 1, 100, 9}, {{}, 64, 1, 3},
                          {{}, 4, 0, 5},  {{}, 0, 3, 4},     {{}, 3, 4, 0},    {{3}, 5, 6, 7},  {{2, 3}, 4, 9, 5},
                          {{0}, 3, 4, 5}, {{}, 65, 130, 70}, {{1}, 33, 17, 2}, {{5}, 1, 8, 1},  {{2, 1, 2}, 3, 3, 3}};
  for (DType t : kProducts) {
    for (const Shape& s : shapes) {
      for (int variant = 0; variant < 6; ++variant) {
        const Layout layout = variant < 3 ? Layout::Dense : Layout::Odd;
        Case c;
        Named n{NamedKind::Matmul, {}, {}, "matmul"};
        Dims dst = s.batch, lhs = s.batch, rhs = s.batch;
        dst.push_back(s.rows), dst.push_back(s.columns);
        lhs.push_back(s.rows), lhs.push_back(s.inner);
        rhs.push_back(s.inner), rhs.push_back(s.columns);
        const Tolerance tolerance = of_sum(t, s.inner + 1);
        n.operands.push_back(m.output(c, t, dst, layout, tolerance));
        auto matrix = [&](Dims sizes, bool transposed) {
          const int r = sizes.size();
          if (transposed) std::swap(sizes[r - 1], sizes[r - 2]);
          Operand o = m.input(c, t, sizes, layout, fill_of(t));
          if (transposed) std::swap(o.sizes[r - 1], o.sizes[r - 2]), std::swap(o.strides[r - 1], o.strides[r - 2]);
          return o;
        };
        n.operands.push_back(matrix(lhs, variant % 3 == 1));
        n.operands.push_back(matrix(rhs, variant % 3 != 0));
        if (variant % 2) {  // a bias a row, repeated
          Operand bias = m.input(c, t, {s.columns}, layout, fill_of(t));
          const int64_t along = bias.strides[0];
          bias.sizes = dst;
          bias.strides = Dims::filled(dst.size(), 0);
          bias.strides[dst.size() - 1] = along;
          n.operands.push_back(bias);
        }
        c.name = std::string("matmul_") + name_of(t) + "_" + std::to_string(dst.size()) + "d_" + std::to_string(s.rows) + "_" +
                 std::to_string(s.inner) + "_" + std::to_string(s.columns) + "_" + std::to_string(variant);
        c.steps.emplace_back(n);
        CHECK_NAMED(c);
      }
    }
  }
}

/// A batch that repeats (stride 0), a bias that is a full matrix, a bias of one value.
TEST_P(Conformance, MatmulOfRepeatedOperands) {
  Maker m(302);
  for (DType t : {DType::F32, DType::BF16, DType::I64}) {
    for (int variant = 0; variant < 4; ++variant) {
      Case c;
      Named n{NamedKind::Matmul, {}, {}, "matmul"};
      n.operands.push_back(m.output(c, t, {4, 9, 11}, Layout::Dense, of_sum(t, 7)));
      Operand lhs = m.input(c, t, {9, 6}, Layout::Odd, fill_of(t)), rhs = m.input(c, t, {4, 6, 11}, Layout::Odd, fill_of(t));
      lhs.sizes.insert(0, 4);
      lhs.strides.insert(0, 0);
      n.operands.push_back(lhs);
      n.operands.push_back(rhs);
      if (variant == 1) n.operands.push_back(m.input(c, t, {4, 9, 11}, Layout::Odd, fill_of(t)));
      if (variant == 2) {
        Operand bias = m.input(c, t, {}, Layout::Dense, fill_of(t));
        bias.sizes = {4, 9, 11};
        bias.strides = {0, 0, 0};
        n.operands.push_back(bias);
      }
      if (variant == 3) n.operands.push_back(Operand{});
      c.name = std::string("matmul_repeated_") + name_of(t) + "_" + std::to_string(variant);
      c.steps.emplace_back(n);
      CHECK_NAMED(c);
    }
  }
}

struct Window {
  Dims source, kernel, stride, padding, dilation;
  int64_t batch, in, out, groups;
  int64_t spare = 0;  // source positions beyond the last window, in the first dimension
};

const Window kWindows[] = {
    {{7}, {3}, {1}, {0}, {1}, 2, 3, 4, 1},
    {{9}, {3}, {2}, {1}, {1}, 1, 4, 6, 2},
    {{11}, {2}, {3}, {2}, {2}, 2, 2, 2, 2},
    {{1}, {1}, {1}, {0}, {1}, 1, 1, 1, 1},
    {{6, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 2, 3, 5, 1},
    {{9, 8}, {3, 2}, {2, 3}, {1, 0}, {1, 1}, 1, 4, 4, 4},
    {{8, 9}, {2, 3}, {1, 2}, {0, 2}, {3, 2}, 2, 6, 3, 3},
    {{5, 5}, {1, 1}, {1, 1}, {0, 0}, {1, 1}, 3, 17, 9, 1},
    {{5, 6}, {5, 4}, {2, 2}, {4, 3}, {1, 1}, 1, 2, 8, 2},
    {{4, 5, 3}, {2, 3, 2}, {1, 2, 1}, {0, 1, 1}, {1, 1, 1}, 2, 2, 4, 1},
    {{4, 4, 5}, {2, 2, 3}, {2, 1, 2}, {1, 0, 2}, {1, 2, 1}, 1, 4, 4, 2},
    {{16, 16}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 2, 16, 32, 1},
    {{12, 12}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, 1, 32, 32, 32},
    {{7, 6}, {3, 3}, {3, 3}, {0, 0}, {1, 1}, 0, 2, 2, 1},  // no batch
    {{8, 8}, {2, 2}, {4, 4}, {0, 0}, {1, 1}, 1, 3, 2, 1},  // windows that leave sources unseen
};

int64_t positions(int64_t source, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
  return (source + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
}

Dims with_channels(int64_t a, int64_t b, const Dims& spatial) {
  Dims d{a, b};
  for (int64_t x : spatial) d.push_back(x);
  return d;
}

Dims outputs_of(const Window& w, bool dilated) {
  Dims o;
  for (int d = 0; d < w.source.size(); ++d)
    o.push_back(positions(w.source[d], w.kernel[d], w.stride[d], w.padding[d], dilated ? w.dilation[d] : 1));
  return o;
}

void attributes(Named& n, const Window& w) {
  n.attrs.stride = w.stride;
  n.attrs.padding = w.padding;
  n.attrs.dilation = w.dilation;
  n.attrs.kernel = w.kernel;
  n.attrs.groups = w.groups;
}

std::string name_of_window(const Window& w) {
  std::string s = std::to_string(w.source.size()) + "d";
  for (int d = 0; d < w.source.size(); ++d) {
    s += "_" + std::to_string(w.source[d]) + "k" + std::to_string(w.kernel[d]) + "s" + std::to_string(w.stride[d]) + "p" +
         std::to_string(w.padding[d]) + "d" + std::to_string(w.dilation[d]);
  }
  return s + "_g" + std::to_string(w.groups);
}

TEST_P(Conformance, Convolutions) {
  Maker m(303);
  for (DType t : kProducts) {
    for (const Window& w : kWindows) {
      // The large ones are for the blocked code of real layers; interpreting them takes a second each.
      const bool large = w.batch * w.in * w.out / w.groups * product(w.source) * product(w.kernel) > 200000;
      if (large && t != DType::F32 && t != DType::BF16) continue;
      for (Layout layout : {Layout::Dense, Layout::Odd}) {
        if (large && layout == Layout::Odd) continue;
        for (NamedKind kind : {NamedKind::Conv, NamedKind::ConvSrcGrad, NamedKind::ConvWeightGrad}) {
          for (bool biased : {false, true}) {
            if (biased && kind != NamedKind::Conv) continue;
            Case c;
            Named n{kind, {}, {}, name_of(kind)};
            attributes(n, w);
            const Dims src = with_channels(w.batch, w.in, w.source), weight = with_channels(w.out, w.in / w.groups, w.kernel),
                       dst = with_channels(w.batch, w.out, outputs_of(w, true));
            const int64_t taps = product(w.kernel);
            if (kind == NamedKind::Conv) {
              n.operands = {m.output(c, t, dst, layout, of_sum(t, w.in / w.groups * taps + 1)), m.input(c, t, src, layout, fill_of(t)),
                            m.input(c, t, weight, layout, fill_of(t))};
              if (biased) n.operands.push_back(m.input(c, t, {w.out}, layout, fill_of(t)));
            } else if (kind == NamedKind::ConvSrcGrad) {
              n.operands = {m.output(c, t, src, layout, of_sum(t, w.out / w.groups * taps)), m.input(c, t, dst, layout, fill_of(t)),
                            m.input(c, t, weight, layout, fill_of(t))};
            } else {
              n.operands = {m.output(c, t, weight, layout, of_sum(t, w.batch * product(outputs_of(w, true)))),
                            m.input(c, t, dst, layout, fill_of(t)), m.input(c, t, src, layout, fill_of(t))};
            }
            c.name = std::string(name_of(kind)) + "_" + name_of(t) + "_" + name_of_window(w) + (layout == Layout::Odd ? "_odd" : "") +
                     (biased ? "_biased" : "");
            c.steps.emplace_back(n);
            CHECK_NAMED(c);
          }
        }
      }
    }
  }
}

/// Channels last: what frameworks hand over on request.
TEST_P(Conformance, ConvolutionsChannelsLast) {
  Maker m(304);
  for (const Window& w : kWindows) {
    for (NamedKind kind : {NamedKind::Conv, NamedKind::ConvSrcGrad, NamedKind::ConvWeightGrad}) {
      Case c;
      Named n{kind, {}, {}, name_of(kind)};
      attributes(n, w);
      const DType t = DType::F32;
      auto last = [&](const Dims& sizes, bool out) {
        Dims stored{sizes[0]};
        for (int d = 2; d < sizes.size(); ++d) stored.push_back(sizes[d]);
        stored.push_back(sizes[1]);
        Operand o = out ? m.output(c, t, stored, Layout::Dense, of_sum(t, 600)) : m.input(c, t, stored, Layout::Dense, Fill::Plain);
        const int r = sizes.size();
        const int64_t channel = o.strides[r - 1];
        for (int d = r - 1; d > 1; --d) o.strides[d] = o.strides[d - 1];
        o.strides[1] = channel;
        o.sizes = sizes;
        return o;
      };
      const Dims src = with_channels(w.batch, w.in, w.source), weight = with_channels(w.out, w.in / w.groups, w.kernel),
                 dst = with_channels(w.batch, w.out, outputs_of(w, true));
      if (kind == NamedKind::Conv) {
        n.operands = {last(dst, true), last(src, false), last(weight, false)};
      } else if (kind == NamedKind::ConvSrcGrad) {
        n.operands = {last(src, true), last(dst, false), last(weight, false)};
      } else {
        n.operands = {last(weight, true), last(dst, false), last(src, false)};
      }
      c.name = std::string(name_of(kind)) + "_last_" + name_of_window(w);
      c.steps.emplace_back(n);
      CHECK_NAMED(c);
    }
  }
}

/// The source gradient is the transposed convolution: its dst may be larger than the windows reach (output_padding).
/// Channels in blocks, as the backend likes them: all operands that can, or the first of these only.
TEST_P(Conformance, ConvolutionsInBlocks) {
  Maker m(309);
  const Window windows[] = {{{11}, {3}, {2}, {1}, {1}, 2, 32, 16, 1},
                            {{6, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 2, 16, 32, 1},
                            {{8, 7}, {1, 1}, {2, 2}, {0, 0}, {1, 1}, 2, 32, 16, 1},
                            {{5, 6}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1, 3, 16, 1},
                            {{20, 21}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 32, 16, 16, 1},  // enough for Winograd
                            {{3, 4, 5}, {2, 2, 2}, {1, 1, 1}, {0, 1, 0}, {1, 1, 1}, 1, 16, 16, 1}};
  for (const Window& w : windows) {
    if (kSanitized && w.batch == 32) continue;  // minutes
    for (NamedKind kind : {NamedKind::Conv, NamedKind::ConvSrcGrad, NamedKind::ConvWeightGrad}) {
      for (bool all : {true, false}) {
        Case c;
        Named n{kind, {}, {}, name_of(kind)};
        attributes(n, w);
        const Dims sizes[] = {with_channels(w.batch, w.out, outputs_of(w, true)), with_channels(w.batch, w.in, w.source),
                              with_channels(w.out, w.in, w.kernel)};
        const int order[][3] = {{0, 1, 2}, {1, 0, 2}, {2, 0, 1}};
        const int* which = order[kind == NamedKind::Conv ? 0 : kind == NamedKind::ConvSrcGrad ? 1 : 2];
        const int64_t terms = product(w.kernel) * w.in * w.out * (kind == NamedKind::ConvWeightGrad ? w.batch * product(w.source) : 1);
        n.operands = {m.output(c, DType::F32, sizes[which[0]], Layout::Dense, of_sum(DType::F32, terms)),
                      m.input(c, DType::F32, sizes[which[1]], Layout::Dense, Fill::Plain),
                      m.input(c, DType::F32, sizes[which[2]], Layout::Dense, Fill::Plain)};
        int blocked = 0;
        for (int i = 0; i < 3 && (all || blocked == 0); ++i) {
          ir::Operand& o = n.operands[static_cast<size_t>(i)];
          const bool is_weight = which[i] == 2;
          o.block =
              GetParam().name == std::string("reference") ? (!is_weight && o.sizes[1] % 16 == 0 ? 16 : 0) : backend().channel_block(n, i);
          blocked += o.block > 1;
        }
        if (blocked == 0) continue;  // this backend has no such layout
        ir::verify(n);
        c.name = std::string(name_of(kind)) + "_" + name_of_window(w) + (all ? "_blocks" : "_one_in_blocks");
        c.steps.emplace_back(n);
        check(c);
      }
    }
  }
}

TEST_P(Conformance, TransposedConvolutions) {
  Maker m(305);
  for (DType t : {DType::F32, DType::BF16, DType::F64}) {
    for (int64_t extra : {0, 1, 2}) {
      Case c;
      Named n{NamedKind::ConvSrcGrad, {}, {}, "conv_transpose"};
      n.attrs.stride = {3, 2};
      n.attrs.padding = {1, 0};
      n.attrs.dilation = {1, 2};
      n.attrs.groups = 2;
      // (4 - 1) * 3 - 2 + 2 + 1 + extra, (5 - 1) * 2 + 2 * 2 + 1
      n.operands = {m.output(c, t, {2, 6, 10 + extra, 13}, Layout::Odd, of_sum(t, 2 * 6)),
                    m.input(c, t, {2, 4, 4, 5}, Layout::Odd, Fill::Plain), m.input(c, t, {4, 3, 2, 3}, Layout::Odd, Fill::Plain)};
      c.name = std::string("conv_transpose_") + name_of(t) + "_" + std::to_string(extra);
      c.steps.emplace_back(n);
      CHECK_NAMED(c);
    }
  }
}

TEST_P(Conformance, AveragePooling) {
  Maker m(306);
  for (DType t : {DType::F16, DType::BF16, DType::F32, DType::F64, DType::I64, DType::I32}) {
    for (const Window& w : kWindows) {
      for (bool gradient : {false, true}) {
        for (int variant = 0; variant < 4; ++variant) {
          Dims outputs = outputs_of(w, false);
          if (variant == 3) {  // ceil_mode: one more window where it still starts within the source or its leading padding
            for (int d = 0; d < outputs.size(); ++d) {
              if (outputs[d] * w.stride[d] < w.source[d] + w.padding[d]) ++outputs[d];
            }
          }
          bool empty = false;
          for (int64_t o : outputs) empty |= o <= 0;
          if (empty) continue;
          Case c;
          Named n{gradient ? NamedKind::AvgPoolGrad : NamedKind::AvgPool, {}, {}, "avg_pool"};
          attributes(n, w);
          n.attrs.count_include_pad = variant != 1;
          n.attrs.divisor_override = variant == 2 ? 5 : 0;
          const Layout layout = variant % 2 ? Layout::Odd : Layout::Dense;
          const Dims src = with_channels(w.batch, w.in, w.source), dst = with_channels(w.batch, w.in, outputs);
          const Tolerance tolerance = of_sum(t, product(w.kernel) + 1);
          n.operands = {m.output(c, t, gradient ? src : dst, layout, tolerance), m.input(c, t, gradient ? dst : src, layout, fill_of(t))};
          c.name =
              std::string(gradient ? "avg_pool_grad_" : "avg_pool_") + name_of(t) + "_" + name_of_window(w) + "_" + std::to_string(variant);
          c.steps.emplace_back(n);
          CHECK_NAMED(c);
        }
      }
    }
  }
}

struct Line {
  Dims sizes;
  int axis;
};

const Line kLines[] = {{{1}, 0},    {{17}, 0},   {{3, 65}, 1}, {{65, 3}, 0},   {{2, 7, 5}, 1},
                       {{0, 4}, 1}, {{4, 0}, 1}, {{300}, 0},   {{2, 1, 3}, 1}, {{3, 2, 33, 2}, 2}};

/// A long line: beyond what one block of a parallel scan holds.
const Line kLongLines[] = {{{3000}, 0}, {{2, 2049}, 1}, {{1025, 3}, 0}};

std::string name_of_line(const Line& l) {
  std::string s;
  for (int d = 0; d < l.sizes.size(); ++d) s += "_" + std::to_string(l.sizes[d]) + (d == l.axis ? "a" : "");
  return s;
}

Case scan_case(Maker& m, ScanKind kind, DType from, DType to, const Line& l, Layout layout, bool indices, Fill fill) {
  Case c;
  Named n{NamedKind::Scan, {}, {}, "scan"};
  n.attrs.scan = kind;
  n.attrs.axis = l.axis;
  const auto length = static_cast<double>(l.sizes[l.axis]);
  const DType k = compute_type(to);
  Tolerance tolerance;
  if (is_float(to) && kind == ScanKind::Sum) tolerance = {1, 4 * length * epsilon(k)};
  if (is_float(to) && kind == ScanKind::Prod) tolerance = {1 + 2 * length * epsilon(k) / epsilon(to), is_float(to) ? ulp(to, 0) : 0};
  if (kind == ScanKind::LogAddExp) tolerance = {2, (32 + 4 * length) * epsilon(k)};
  n.operands = {m.output(c, to, l.sizes, layout, tolerance), m.input(c, from, l.sizes, layout, fill)};
  if (indices) n.operands.push_back(m.output(c, DType::I64, l.sizes, layout));
  c.name = "scan_" + std::to_string(static_cast<int>(kind)) + "_" + name_of(from) + "_" + name_of(to) + name_of_line(l) +
           (indices ? "_indices" : "");
  c.steps.emplace_back(n);
  return c;
}

TEST_P(Conformance, Scans) {
  Maker m(307);
  int i = 0;
  for (const Line& l : kLines) {
    for (DType t : kAll) {
      const Layout layout = i++ % 2 ? Layout::Odd : Layout::Dense;
      for (ScanKind kind : {ScanKind::Sum, ScanKind::Prod}) {
        if (kind == ScanKind::Prod && is_float(t)) {
          CHECK_NAMED(scan_case(m, kind, t, t, l.sizes[l.axis] > 40 ? kLines[1] : l, layout, false, Fill::Plain));
        } else {
          CHECK_NAMED(scan_case(m, kind, t, t, l, layout, false, is_float(t) ? Fill::Plain : Fill::Special));
        }
      }
      for (ScanKind kind : {ScanKind::Max, ScanKind::Min}) {
        for (bool indices : {false, true}) {
          CHECK_NAMED(scan_case(m, kind, t, t, l, layout, indices, Fill::Small));
          CHECK_NAMED(scan_case(m, kind, t, t, l, layout, indices, Fill::Special));
        }
      }
      if (is_float(t)) {
        CHECK_NAMED(scan_case(m, ScanKind::LogAddExp, t, t, l, layout, false, Fill::Plain));
        CHECK_NAMED(scan_case(m, ScanKind::LogAddExp, t, t, l, layout, false, Fill::Special));
      }
      // Sums in a wider type than their terms.
      if (!is_float(t)) CHECK_NAMED(scan_case(m, ScanKind::Sum, t, DType::I64, l, layout, false, Fill::Special));
      if (is_float(t)) CHECK_NAMED(scan_case(m, ScanKind::Sum, t, DType::F64, l, layout, false, Fill::Plain));
    }
  }
}

TEST_P(Conformance, LongScans) {
  Maker m(308);
  for (const Line& l : kLongLines) {
    for (DType t : {DType::F32, DType::BF16, DType::F64, DType::I64, DType::U8}) {
      CHECK_NAMED(scan_case(m, ScanKind::Sum, t, t, l, Layout::Odd, false, Fill::Plain));
      if (is_float(t)) CHECK_NAMED(scan_case(m, ScanKind::LogAddExp, t, t, l, Layout::Dense, false, Fill::Plain));
      for (ScanKind kind : {ScanKind::Max, ScanKind::Min}) {
        CHECK_NAMED(scan_case(m, kind, t, t, l, Layout::Odd, true, Fill::Plain));
        CHECK_NAMED(scan_case(m, kind, t, t, l, Layout::Odd, true, Fill::Small));
      }
    }
  }
}

Case sort_case(Maker& m, DType t, const Line& l, Layout layout, bool descending, Fill fill) {
  Case c;
  Named n{NamedKind::Sort, {}, {}, "sort"};
  n.attrs.axis = l.axis;
  n.attrs.descending = descending;
  n.operands = {m.output(c, t, l.sizes, layout), m.output(c, DType::I64, l.sizes, layout), m.input(c, t, l.sizes, layout, fill)};
  c.name = std::string("sort_") + name_of(t) + name_of_line(l) + (descending ? "_descending" : "");
  c.steps.emplace_back(n);
  return c;
}

TEST_P(Conformance, Sorts) {
  Maker m(309);
  int i = 0;
  for (const Line& l : kLines) {
    for (DType t : kAll) {
      for (bool descending : {false, true}) {
        for (Fill fill : {Fill::Special, Fill::Small, Fill::Plain})
          CHECK_NAMED(sort_case(m, t, l, i++ % 2 ? Layout::Odd : Layout::Dense, descending, fill));
      }
    }
  }
}

TEST_P(Conformance, LongSorts) {
  Maker m(310);
  for (const Line& l : kLongLines) {
    for (DType t : {DType::F32, DType::F16, DType::I64, DType::U8}) {
      for (bool descending : {false, true}) {
        CHECK_NAMED(sort_case(m, t, l, Layout::Odd, descending, Fill::Special));
      }
    }
  }
}

/// An input that repeats along an axis, sorted and scanned.
TEST_P(Conformance, RepeatedLines) {
  Maker m(311);
  for (DType t : {DType::F32, DType::I64}) {
    for (int axis : {0, 1}) {
      for (NamedKind kind : {NamedKind::Sort, NamedKind::Scan}) {
        Case c;
        Named n{kind, {}, {}, "repeated"};
        n.attrs.axis = axis;
        Operand src = m.input(c, t, {9}, Layout::Odd, Fill::Small);
        src.sizes = {9, 6};
        src.strides = {src.strides[0], 0};
        n.operands.push_back(m.output(c, t, {9, 6}, Layout::Odd));
        if (kind == NamedKind::Sort) n.operands.push_back(m.output(c, DType::I64, {9, 6}, Layout::Odd));
        n.operands.push_back(src);
        c.name = std::string("repeated_") + name_of(kind) + "_" + name_of(t) + "_" + std::to_string(axis);
        c.steps.emplace_back(n);
        CHECK_NAMED(c);
      }
    }
  }
}

}  // namespace
}  // namespace anygpu::conformance
