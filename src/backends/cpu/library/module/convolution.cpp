// Convolutions of 1, 2 and 3 spatial dimensions and their gradients.
//
// Layouts, measured (oneDNN 2.6.3, AVX-512, 2 cores, from and to plain NCHW, reorders included, GFLOP/s):
//                                  forward            gradient of src     gradient of weight
//                                blocked   plain      blocked   plain      blocked   plain
//   32x3x32x32   -> 32  3x3        156      112          40       92         167       25
//   32x1x28x28   -> 32  3x3        116      101          14       93         128       27
//   32x32x32x32  -> 32  3x3        213      117         215       96         182       33
//   32x64x16x16  -> 128 3x3 s2     210      139         202      158         160      157
//   8x64x56x56   -> 64  1x1        145      217         147      223         151      140
// So: the layout of oneDNN's choice, but plain for 1x1, and for the gradient of a src of few channels. Channels-last operands stay as
// they are: oneDNN computes on them directly at the blocked layout's speed.
#include <algorithm>
#include <cstdlib>
#include <string>

#include "backends/cpu/library/module/execution.h"
#include "backends/cpu/library/module/nameds.h"
#include "backends/cpu/library/module/team.h"

namespace anygpu::cpu {
namespace {

using ir::NamedKind;

struct ConvProblem {
  NamedKind kind;
  std::string op;
  DType dtype;
  ir::Operand src, weight, dst;
  const ir::Operand* bias = nullptr;
  onednn::Window window;
  int64_t groups;
};

const char* op_name(NamedKind kind) {
  switch (kind) {
    case NamedKind::Conv:
      return "conv";
    case NamedKind::ConvSrcGrad:
      return "conv_src_grad";
    default:
      return "conv_weight_grad";
  }
}

/// False where oneDNN has no words for it.
bool describe(const ir::Named& named, ConvProblem& p) {
  const auto& o = named.operands;
  p.kind = named.kind;
  p.op = op_name(named.kind);
  p.groups = named.attrs.groups;
  switch (named.kind) {
    case NamedKind::Conv:
      p.dst = o[0], p.src = o[1], p.weight = o[2];
      if (o.size() > 3 && o[3].slot >= 0) p.bias = &o[3];
      break;
    case NamedKind::ConvSrcGrad:
      p.src = o[0], p.dst = o[1], p.weight = o[2];
      break;
    default:
      p.weight = o[0], p.dst = o[1], p.src = o[2];
      break;
  }
  p.dtype = p.dst.dtype;
  int spatial = p.src.rank() - 2;
  const ir::NamedAttrs& a = named.attrs;
  if (spatial < 1 || spatial > 3 || p.dst.rank() != spatial + 2 || p.weight.rank() != spatial + 2) return false;
  if (a.stride.size() != spatial || a.padding.size() != spatial || a.dilation.size() != spatial || p.groups < 1) return false;
  if (p.src.dtype != p.dtype || p.weight.dtype != p.dtype || (p.bias && p.bias->dtype != p.dtype)) return false;
  for (int d = 0; d < spatial; ++d) {
    int64_t in = p.src.sizes[d + 2], out = p.dst.sizes[d + 2], kernel = p.weight.sizes[d + 2];
    int64_t reach = (kernel - 1) * a.dilation[d] + 1;
    // Any right padding in [least, least + stride) gives the same output; the left's where that will do.
    int64_t least = (out - 1) * a.stride[d] + reach - in - a.padding[d];
    int64_t right = std::min(std::max(a.padding[d], least), least + a.stride[d] - 1);
    if (a.padding[d] < 0 || right < 0) return false;
    p.window.kernel.push_back(kernel);
    p.window.stride.push_back(a.stride[d]);
    p.window.dilation.push_back(a.dilation[d] - 1);
    p.window.pad_left.push_back(a.padding[d]);
    p.window.pad_right.push_back(right);
  }
  return true;
}

bool is_empty(const ir::Operand& o) {
  return product(o.sizes) == 0;
}

/// [OC, IC/groups, k..] as oneDNN's [groups, OC/groups, IC/groups, k..].
ArrayRef weight_array(const ConvProblem& p) {
  ArrayRef w = array_of(p.weight);
  if (p.groups > 1) {
    int64_t per_group = w.sizes[0] / p.groups;
    w.sizes[0] = p.groups;
    w.sizes.insert(1, per_group);
    w.strides.insert(1, w.strides[0]);
    w.strides[0] *= per_group;
  }
  settle_unit_strides(w);
  return w;
}

ArrayRef settled(const ir::Operand& o) {
  ArrayRef a = array_of(o);
  settle_unit_strides(a);
  return a;
}

onednn::Tag layout(const ConvProblem& p, const ArrayRef& src, const ArrayRef& dst) {
  int rank = src.sizes.size();
  if (src.block > 1 || dst.block > 1) return onednn::Tag::any;
  auto is = [&](const ArrayRef& a, onednn::Tag tag) {
    return plain_desc(a) == onednn::Desc(onednn::to_dims(a.sizes), onednn::to_type(a.dtype), tag);
  };
  onednn::Tag last = onednn::channels_last(rank);
  if (is(src, last) && is(dst, last) && !(is(src, onednn::channels_first(rank)) && is(dst, onednn::channels_first(rank)))) return last;
  int64_t kernel = 1, padding = 0, stride = 1;
  for (int64_t k : p.window.kernel) kernel *= k;
  for (int64_t x : p.window.pad_left) padding += x;
  for (int64_t x : p.window.stride) stride *= x;
  int64_t channels = p.src.sizes[1] / p.groups;
  if (p.dtype == DType::F32 && kernel == 1 && padding == 0 && (stride == 1 || p.kind == NamedKind::ConvSrcGrad) && p.groups == 1 &&
      p.kind != NamedKind::ConvWeightGrad)
    return onednn::channels_first(rank);
  if (p.dtype == DType::F32 && p.kind == NamedKind::ConvSrcGrad && p.groups == 1 && channels <= 8) return onednn::channels_first(rank);
  return onednn::Tag::any;
}

constexpr double kWorthTransforms = 3e7;  // multiplications

/// Whether Winograd's F(4x4, 3x3) is worth a try (Lavin and Gray, 2016): 2 to 4 times as fast, and as exact as f32 sums of this length are.
/// Root mean square errors against f64, over the values' own: 0.6 to 1.1e-6 where the direct sum has 0.2e-6; gradient of weight 0.6 to
/// 0.8e-6 where the direct sum has 0.7 to 2.3e-6. ANYGPU_WINOGRAD=0 turns it off.
bool suits_winograd(const ConvProblem& p) {
  static const bool wanted = [] {
    const char* v = std::getenv("ANYGPU_WINOGRAD");
    return !v || std::string(v) != "0";
  }();
  if (!wanted || p.dtype != DType::F32 || p.groups != 1 || p.window.kernel != onednn::memory::dims{3, 3}) return false;
  for (size_t d = 0; d < 2; ++d) {
    if (p.window.stride[d] != 1 || p.window.dilation[d] != 0) return false;
  }
  const int64_t in = p.src.sizes[1], out = p.dst.sizes[1];
  return in >= 16 && out >= 16 && 9.0 * static_cast<double>(product(p.dst.sizes)) * static_cast<double>(in) >= kWorthTransforms;
}

std::unique_ptr<Execution> prepare(const ConvProblem& p, dnnl::algorithm algorithm) {
  ArrayRef src = settled(p.src), dst = settled(p.dst), weight = weight_array(p);
  onednn::Tag tag = algorithm == dnnl::algorithm::convolution_winograd ? onednn::Tag::any : layout(p, src, dst);
  auto free = [&](const ArrayRef& a, onednn::Tag t) { return onednn::Desc(onednn::to_dims(a.sizes), onednn::to_type(a.dtype), t); };
  onednn::Desc src_desc = free(src, tag), dst_desc = free(dst, tag), weight_desc = free(weight, onednn::Tag::any);
  auto attr = onednn::attributes(false);
  auto execution = std::make_unique<Execution>(p.op, team_threads());
  if (p.kind == NamedKind::Conv) {
    ArrayRef bias{};
    onednn::Desc bias_desc;
    if (p.bias) {
      bias = settled(*p.bias);
      bias.dense_copy = bias.strides[0] != 1;
      bias_desc = plain_desc(bias);
    }
    auto desc = onednn::conv_desc(src_desc, weight_desc, p.bias ? &bias_desc : nullptr, dst_desc, p.window, attr, algorithm);
    execution->output(DNNL_ARG_DST, dst, desc.dst_desc());
    execution->input(DNNL_ARG_SRC, src, desc.src_desc());
    execution->input(DNNL_ARG_WEIGHTS, weight, desc.weights_desc());
    if (p.bias) execution->input(DNNL_ARG_BIAS, bias, bias_desc);
    execution->finish(dnnl::convolution_forward(desc), desc.scratchpad_desc());
    return execution;
  }
  auto hint = onednn::conv_desc(src_desc, weight_desc, nullptr, dst_desc, p.window, attr, algorithm);
  if (p.kind == NamedKind::ConvSrcGrad) {
    auto desc = onednn::conv_src_grad_desc(src_desc, weight_desc, dst_desc, p.window, attr, hint, algorithm);
    execution->output(DNNL_ARG_DIFF_SRC, src, desc.diff_src_desc());
    execution->input(DNNL_ARG_DIFF_DST, dst, desc.diff_dst_desc());
    execution->input(DNNL_ARG_WEIGHTS, weight, desc.weights_desc());
    execution->finish(dnnl::convolution_backward_data(desc), desc.scratchpad_desc());
  } else {
    auto desc = onednn::conv_weight_grad_desc(src_desc, weight_desc, dst_desc, p.window, attr, hint, algorithm);
    execution->output(DNNL_ARG_DIFF_WEIGHTS, weight, desc.diff_weights_desc());
    execution->input(DNNL_ARG_DIFF_DST, dst, desc.diff_dst_desc());
    execution->input(DNNL_ARG_SRC, src, desc.src_desc());
    execution->finish(dnnl::convolution_backward_weights(desc), desc.scratchpad_desc());
  }
  return execution;
}

}  // namespace

bool supports_convolution(const ir::Named& named) {
  ConvProblem p;
  return describe(named, p) && onednn::computes(p.dtype);
}

// What the library would choose for itself: then nothing is reordered on the way from one convolution to the next.
int64_t convolution_block(const ir::Named& named, int operand) {
  const ir::Operand& o = named.operands[static_cast<size_t>(operand)];
  const bool is_image = operand == 1 || operand == (named.kind == NamedKind::ConvWeightGrad ? 2 : 0);  // else a weight, or a bias
  const int64_t block = onednn::channel_block();
  ConvProblem p;
  if (block == 0 || !is_image || o.dtype != DType::F32 || !describe(named, p) || p.groups != 1) return 0;
  if (is_empty(o) || is_empty(p.weight) || o.sizes[1] % block != 0) return 0;
  if (named.kind == NamedKind::ConvSrcGrad && p.src.sizes[1] <= 8) return 0;  // stays plain, see layout()
  return o.strides == contiguous_strides(o.sizes) && o.offset % (block * o.strides[1]) == 0 ? block : 0;
}

std::unique_ptr<PreparedNamed> prepare_convolution(const ir::Named& named) {
  ConvProblem p;
  if (!describe(named, p)) throw Error(ErrorKind::Internal, std::string("[") + op_name(named.kind) + "] not what oneDNN computes");
  const ir::Operand& out = named.operands[0];
  bool nothing_to_sum =
      p.kind == NamedKind::Conv ? is_empty(p.src) || is_empty(p.weight) : is_empty(named.operands[1]) || is_empty(named.operands[2]);
  if (is_empty(out) || nothing_to_sum) {
    if (!p.bias) return make_fill(array_of(out), nullptr);
    ArrayRef bias = array_of(*p.bias);
    int64_t stride = bias.strides[0];
    bias.sizes = out.sizes;
    bias.strides = Dims::filled(out.rank(), 0);
    bias.strides[1] = stride;
    return make_fill(array_of(out), &bias);
  }
  TeamScope threads(team_threads());
  if (suits_winograd(p)) {
    try {
      return prepare(p, dnnl::algorithm::convolution_winograd);
    } catch (const dnnl::error&) {
      // This oneDNN or this CPU has none.
    }
  }
  return translate(p.op, "prepare", [&] { return prepare(p, dnnl::algorithm::convolution_direct); });
}

}  // namespace anygpu::cpu
