// Average pooling of 1, 2 and 3 spatial dimensions and its gradient.
#include <algorithm>

#include "backends/cpu/library/module/execution.h"
#include "backends/cpu/library/module/nameds.h"
#include "backends/cpu/library/module/team.h"

namespace anygpu::cpu {
namespace {

struct PoolProblem {
  bool is_grad;
  ir::Operand src, dst;
  onednn::Window window;
};

/// False where oneDNN has no words for it, or means something else by them.
bool describe(const ir::Named& named, PoolProblem& p) {
  const ir::NamedAttrs& a = named.attrs;
  p.is_grad = named.kind == ir::NamedKind::AvgPoolGrad;
  p.dst = named.operands[p.is_grad ? 1 : 0];
  p.src = named.operands[p.is_grad ? 0 : 1];
  int spatial = p.src.rank() - 2;
  if (spatial < 1 || spatial > 3 || p.dst.rank() != spatial + 2 || p.src.dtype != p.dst.dtype) return false;
  if (a.divisor_override != 0 || a.kernel.size() != spatial || a.stride.size() != spatial || a.padding.size() != spatial) return false;
  for (int d = 0; d < spatial; ++d) {
    int64_t in = p.src.sizes[d + 2], out = p.dst.sizes[d + 2];
    if (!a.dilation.empty() && a.dilation[d] != 1) return false;
    int64_t least = (out - 1) * a.stride[d] + a.kernel[d] - in - a.padding[d];
    int64_t right = std::min(std::max(a.padding[d], least), least + a.stride[d] - 1);
    if (a.padding[d] < 0 || a.padding[d] >= a.kernel[d] || right < 0 || right >= a.kernel[d]) return false;
    // PyTorch's divisor counts padding but not what lies beyond it; oneDNN's counts the whole window.
    if (a.count_include_pad && least > a.padding[d]) return false;
    p.window.kernel.push_back(a.kernel[d]);
    p.window.stride.push_back(a.stride[d]);
    p.window.dilation.push_back(0);
    p.window.pad_left.push_back(a.padding[d]);
    p.window.pad_right.push_back(right);
  }
  return true;
}

}  // namespace

bool supports_pooling(const ir::Named& named) {
  PoolProblem p;
  return describe(named, p) && onednn::computes(p.dst.dtype);
}

std::unique_ptr<PreparedNamed> prepare_pooling(const ir::Named& named) {
  const std::string op = named.kind == ir::NamedKind::AvgPool ? "avg_pool" : "avg_pool_grad";
  PoolProblem p;
  if (!describe(named, p)) throw Error(ErrorKind::Internal, "[" + op + "] not what oneDNN computes");
  if (product(p.src.sizes) == 0 || product(p.dst.sizes) == 0) return make_fill(array_of(named.operands[0]), nullptr);
  TeamScope threads(team_threads());
  return translate(op, "prepare", [&] {
    ArrayRef src = array_of(p.src), dst = array_of(p.dst);
    settle_unit_strides(src);
    settle_unit_strides(dst);
    // Both in one layout, dense: oneDNN's fast paths know no other.
    auto in_tag = [](const ArrayRef& a, onednn::Tag tag) { return onednn::Desc(onednn::to_dims(a.sizes), onednn::to_type(a.dtype), tag); };
    int rank = src.sizes.size();
    onednn::Tag tag =
        plain_desc(src) == in_tag(src, onednn::channels_last(rank)) && plain_desc(dst) == in_tag(dst, onednn::channels_last(rank))
            ? onednn::channels_last(rank)
            : onednn::channels_first(rank);
    onednn::Desc src_desc = in_tag(src, tag), dst_desc = in_tag(dst, tag);
    auto attr = onednn::attributes(false);
    auto execution = std::make_unique<Execution>(op, team_threads());
    auto forward = onednn::pool_desc(named.attrs.count_include_pad, src_desc, dst_desc, p.window, attr);
    if (p.is_grad) {
      auto desc = onednn::pool_grad_desc(named.attrs.count_include_pad, src_desc, dst_desc, p.window, attr, forward);
      execution->output(DNNL_ARG_DIFF_SRC, src, src_desc);
      execution->input(DNNL_ARG_DIFF_DST, dst, dst_desc);
      execution->finish(dnnl::pooling_backward(desc), desc.scratchpad_desc());
    } else {
      execution->output(DNNL_ARG_DST, dst, dst_desc);
      execution->input(DNNL_ARG_SRC, src, src_desc);
      execution->finish(dnnl::pooling_forward(forward), forward.scratchpad_desc());
    }
    return execution;
  });
}

}  // namespace anygpu::cpu
