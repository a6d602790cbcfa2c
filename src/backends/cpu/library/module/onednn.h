// oneDNN, 2.6 and 3.x alike: what differs between the two is in this file only.
#pragma once

#include <oneapi/dnnl/dnnl.hpp>

#include "anygpu/dims.h"
#include "anygpu/dtype.h"
#include "backends/cpu/library/module/module.h"

namespace anygpu::cpu::onednn {

using dnnl::memory;
using Desc = dnnl::memory::desc;
using Tag = dnnl::memory::format_tag;

inline memory::dims to_dims(const Dims& d) {
  return memory::dims(d.begin(), d.end());
}

inline memory::data_type to_type(DType t) {
  return t == DType::BF16 ? memory::data_type::bf16 : memory::data_type::f32;
}

inline Tag channels_first(int rank) {
  return rank == 3 ? Tag::ncw : rank == 4 ? Tag::nchw : Tag::ncdhw;
}
inline Tag channels_last(int rank) {
  return rank == 3 ? Tag::nwc : rank == 4 ? Tag::nhwc : Tag::ndhwc;
}

/// Channels in blocks of 8 or 16.
inline Tag in_blocks(int rank, int64_t block) {
  if (block == 16) return rank == 3 ? Tag::nCw16c : rank == 4 ? Tag::nChw16c : Tag::nCdhw16c;
  return rank == 3 ? Tag::nCw8c : rank == 4 ? Tag::nChw8c : Tag::nCdhw8c;
}
/// The block in which this machine's convolutions of f32 like channels to lie; 0: in none.
inline int64_t channel_block() {
  static const auto isa = static_cast<unsigned>(dnnl_get_effective_cpu_isa());
  auto has = [](unsigned wanted) { return (isa & wanted) == wanted; };
  return has(dnnl_cpu_isa_avx512_core) ? 16 : has(dnnl_cpu_isa_avx2) ? 8 : 0;
}

inline const dnnl::engine& engine() {
  static const auto* e = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *e;
}

inline dnnl::primitive_attr attributes(bool add_to_dst) {
  dnnl::primitive_attr attr;
  // The library's own scratchpad belongs to the thread that created the primitive: another may run it.
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (add_to_dst) {
    dnnl::post_ops ops;
    ops.append_sum(1.0f);
    attr.set_post_ops(ops);
  }
  return attr;
}

/// Whether this machine's oneDNN computes in a dtype: f32 always, bf16 where the CPU has AVX-512.
inline bool computes(DType t) {
  if (t == DType::F32) return true;
  if (t != DType::BF16) return false;
  static const bool bf16 = [] {
    Desc d({16, 16}, memory::data_type::bf16, Tag::ab);
    try {
#if DNNL_VERSION_MAJOR >= 3
      dnnl::matmul::primitive_desc desc(engine(), d, d, d);
#else
      dnnl::matmul::primitive_desc desc(dnnl::matmul::desc(d, d, d), engine());
#endif
      return true;
    } catch (const dnnl::error&) {
      return false;
    }
  }();
  return bf16;
}

/// Strides, padding and (oneDNN's, from 0) dilation of a window.
struct Window {
  memory::dims kernel, stride, dilation, pad_left, pad_right;
};

// With `bias` null: without.
inline auto matmul_desc(const Desc& src, const Desc& weights, const Desc* bias, const Desc& dst, const dnnl::primitive_attr& attr) {
#if DNNL_VERSION_MAJOR >= 3
  return bias ? dnnl::matmul::primitive_desc(engine(), src, weights, *bias, dst, attr)
              : dnnl::matmul::primitive_desc(engine(), src, weights, dst, attr);
#else
  return dnnl::matmul::primitive_desc(bias ? dnnl::matmul::desc(src, weights, *bias, dst) : dnnl::matmul::desc(src, weights, dst), attr,
                                      engine());
#endif
}

inline auto conv_desc(const Desc& src, const Desc& weights, const Desc* bias, const Desc& dst, const Window& w,
                      const dnnl::primitive_attr& attr, dnnl::algorithm alg) {
  using C = dnnl::convolution_forward;
  auto kind = dnnl::prop_kind::forward_training;
#if DNNL_VERSION_MAJOR >= 3
  return bias ? C::primitive_desc(engine(), kind, alg, src, weights, *bias, dst, w.stride, w.dilation, w.pad_left, w.pad_right, attr)
              : C::primitive_desc(engine(), kind, alg, src, weights, dst, w.stride, w.dilation, w.pad_left, w.pad_right, attr);
#else
  return C::primitive_desc(bias ? C::desc(kind, alg, src, weights, *bias, dst, w.stride, w.dilation, w.pad_left, w.pad_right)
                                : C::desc(kind, alg, src, weights, dst, w.stride, w.dilation, w.pad_left, w.pad_right),
                           attr, engine());
#endif
}

inline auto conv_src_grad_desc(const Desc& src, const Desc& weights, const Desc& dst, const Window& w, const dnnl::primitive_attr& attr,
                               const dnnl::convolution_forward::primitive_desc& hint, dnnl::algorithm alg) {
  using C = dnnl::convolution_backward_data;
#if DNNL_VERSION_MAJOR >= 3
  return C::primitive_desc(engine(), alg, src, weights, dst, w.stride, w.dilation, w.pad_left, w.pad_right, hint, attr);
#else
  return C::primitive_desc(C::desc(alg, src, weights, dst, w.stride, w.dilation, w.pad_left, w.pad_right), attr, engine(), hint);
#endif
}

inline auto conv_weight_grad_desc(const Desc& src, const Desc& weights, const Desc& dst, const Window& w, const dnnl::primitive_attr& attr,
                                  const dnnl::convolution_forward::primitive_desc& hint, dnnl::algorithm alg) {
  using C = dnnl::convolution_backward_weights;
#if DNNL_VERSION_MAJOR >= 3
  return C::primitive_desc(engine(), alg, src, weights, dst, w.stride, w.dilation, w.pad_left, w.pad_right, hint, attr);
#else
  return C::primitive_desc(C::desc(alg, src, weights, dst, w.stride, w.dilation, w.pad_left, w.pad_right), attr, engine(), hint);
#endif
}

inline auto pool_desc(bool include_padding, const Desc& src, const Desc& dst, const Window& w, const dnnl::primitive_attr& attr) {
  using P = dnnl::pooling_forward;
  auto kind = dnnl::prop_kind::forward_training;
  auto alg = include_padding ? dnnl::algorithm::pooling_avg_include_padding : dnnl::algorithm::pooling_avg_exclude_padding;
#if DNNL_VERSION_MAJOR >= 3
  return P::primitive_desc(engine(), kind, alg, src, dst, w.stride, w.kernel, w.dilation, w.pad_left, w.pad_right, attr);
#else
  return P::primitive_desc(P::desc(kind, alg, src, dst, w.stride, w.kernel, w.pad_left, w.pad_right), attr, engine());
#endif
}

inline auto pool_grad_desc(bool include_padding, const Desc& src, const Desc& dst, const Window& w, const dnnl::primitive_attr& attr,
                           const dnnl::pooling_forward::primitive_desc& hint) {
  using P = dnnl::pooling_backward;
  auto alg = include_padding ? dnnl::algorithm::pooling_avg_include_padding : dnnl::algorithm::pooling_avg_exclude_padding;
#if DNNL_VERSION_MAJOR >= 3
  return P::primitive_desc(engine(), alg, src, dst, w.stride, w.kernel, w.dilation, w.pad_left, w.pad_right, hint, attr);
#else
  return P::primitive_desc(P::desc(alg, src, dst, w.stride, w.kernel, w.pad_left, w.pad_right), attr, engine(), hint);
#endif
}

}  // namespace anygpu::cpu::onednn
