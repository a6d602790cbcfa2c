// A Generic as Launches: its schedule, the shaders for it (found again where only sizes changed), and what their params are now.
#include <algorithm>
#include <bit>
#include <mutex>

#include "anygpu/error.h"
#include "backends/cache/code_cache.h"
#include "spirv/kernel.h"

namespace anygpu::vulkan {
namespace {

using ir::ExprOp;

struct Extent {
  int64_t begin = INT64_MAX, end = INT64_MIN;  // bytes
};

[[noreturn]] void lacks(const ir::Generic& g, const char* what) {
  throw Error(ErrorKind::Type, "[" + g.name + "] this device has no " + what);
}

void require_types(const ir::Generic& g, const KernelSpec& spec, const Capabilities& caps) {
  auto require = [&](DType t, bool narrow) {
    if (t == DType::F64 && !(caps.float64 && caps.int64)) lacks(g, "64-bit floats");
    if (t == DType::I64 && !narrow && !caps.int64) lacks(g, "64-bit integers");
  };
  for (size_t i = 0; i < spec.nodes.size(); ++i) require(spec.nodes[i].type, spec.narrow[i]);
  for (const KernelStore& s : spec.stores) require(spec.accesses[s.store.access].dtype, false);
}

/// Bytes that each binding reaches. A computed address may be anywhere in its slot.
std::vector<Extent> extents_of(const Schedule& s) {
  const KernelSpec& spec = s.spec;
  std::vector<bool> computed(spec.accesses.size());
  for (const ir::Node& n : spec.nodes) {
    if (n.op == ExprOp::Load && n.b >= 0) computed[n.a] = true;
  }
  for (const KernelStore& st : spec.stores) {
    if (st.store.index >= 0) computed[st.store.access] = true;
  }
  std::vector<Extent> extents(spec.bindings);
  for (size_t a = 0; a < spec.accesses.size(); ++a) {
    int64_t first = s.places[a].offset, last = first;
    for (size_t d = 0; d < s.sizes.size(); ++d) (s.places[a].strides[d] < 0 ? first : last) += (s.sizes[d] - 1) * s.places[a].strides[d];
    const int64_t size = size_of(spec.accesses[a].dtype);
    Extent& e = extents[spec.accesses[a].binding];
    e.begin = computed[a] ? 0 : std::min(e.begin, first * size / 8 * 8);  // all offsets within stay whole elements
    e.end = computed[a] ? INT64_MAX : std::max(e.end, (last + 1) * size);
  }
  return extents;
}

std::shared_ptr<const Kernel> kernel_for(const KernelSpec& spec, const Capabilities& caps, const std::string& name) {
  static std::mutex& mutex = *new std::mutex;
  static auto& made = *new CodeCache<std::string, const Kernel>;
  std::string key = spec.key();
  key += static_cast<char>(caps.storage8 | caps.storage16 << 1 | caps.float_controls_f32 << 2 | caps.denormals << 3);
  key += std::to_string(caps.push_bytes);
  std::lock_guard lock(mutex);
  if (auto found = made.find(key)) return found;
  const auto kernel = std::make_shared<const Kernel>(emit(spec, caps, name));
  made.insert(key, kernel);
  return kernel;
}

/// How groups are laid out in x and y, each of which is limited.
void lay_groups(Launch& l, int64_t groups, const Capabilities& caps, const std::string& name) {
  const int64_t most = caps.max_groups[0];
  const int64_t y = (groups + most - 1) / most;
  if (y > caps.max_groups[1])
    throw Error(ErrorKind::Value, "[" + name + "] takes " + std::to_string(groups) + " workgroups, more than this device runs");
  l.groups[0] = static_cast<uint32_t>((groups + y - 1) / y);
  l.groups[1] = static_cast<uint32_t>(y);
}

Launch launch(const Schedule& s, const KernelSpec& spec, const Kernel& kernel, const Capabilities& caps, const std::string& name,
              int64_t groups, int64_t chunks, int64_t first = 0) {
  Launch l;
  l.shader = kernel.shader;
  lay_groups(l, groups, caps, name);
  if (chunks > caps.max_groups[2])
    throw Error(ErrorKind::Value, "[" + name + "] is cut into " + std::to_string(chunks) + " chunks, more than this device runs");
  l.groups[2] = static_cast<uint32_t>(chunks);
  l.work = s.work;
  const std::vector<Extent> extents = extents_of(s);
  for (int b = 0; b < spec.bindings; ++b) {
    Binding binding{};
    if (b == spec.faults) {
      binding = {kFaults, 0, 4, true};
    } else if (b == spec.scratch) {
      binding = {kScratch, 0, INT64_MAX, true};
    } else if (spec.texels >> b & 1) {
      for (size_t a = 0; a < spec.accesses.size(); ++a) {
        const KernelAccess& access = spec.accesses[a];
        if (access.texels != b) continue;
        const Extent& e = extents[access.binding];
        binding = {s.places[a].slot, e.begin, e.end, false, kTold, 4, access.four ? Texel::Float4 : Texel::Float};
      }
    } else {
      binding = {0, extents[b].begin, extents[b].end, false};
      for (size_t a = 0; a < spec.accesses.size(); ++a) {
        if (spec.accesses[a].binding == b) binding.slot = s.places[a].slot;
      }
      for (const KernelStore& st : spec.stores) binding.write |= spec.accesses[st.store.access].binding == b;
    }
    for (const KernelAccess& a : spec.accesses)
      if (a.binding == b || a.texels == b) binding.reach = std::min(binding.reach, size_of(a.dtype) << 32);
    l.bindings.push_back(binding);
  }
  for (size_t w = 0; w < kernel.params.size(); ++w) {
    const Param& p = kernel.params[w];
    int64_t value = 0;
    switch (p.kind) {
      case Param::Rows:
        value = s.rows;
        break;
      case Param::GroupsX:
        value = l.groups[0];
        break;
      case Param::Blocks:
        value = s.blocks;
        break;
      case Param::Chunk:
        value = s.chunk;
        break;
      case Param::Chunks:
        value = s.chunks;
        break;
      case Param::First:
        value = first;
        break;
      case Param::Last:
        value = std::min(first + s.ordered_a_launch, s.ordered);
        break;
      case Param::Size:
        value = s.sizes[p.i];
        break;
      case Param::Rest:
        l.bindings[p.i].word = static_cast<int32_t>(w);
        l.bindings[p.i].unit = 1;
        break;
      case Param::Offset: {
        const KernelAccess& a = spec.accesses[p.i];
        value = s.places[p.i].offset - extents[a.binding].begin / size_of(a.dtype);
        if (a.alone) {
          l.bindings[a.binding].word = static_cast<int32_t>(w);
          l.bindings[a.binding].unit = static_cast<int32_t>(size_of(a.dtype));
        }
        break;
      }
      case Param::Stride:
        value = s.places[p.i].strides[p.j];
        break;
      case Param::Arg: {
        auto type = static_cast<DType>(p.j);
        const bool whole = w + 1 < kernel.params.size() && kernel.params[w + 1] == Param{Param::ArgHigh, p.i, p.j};
        if (type == DType::I64 && !whole) type = DType::I32;
        l.scalars.push_back({static_cast<int32_t>(w), s.args[p.i], type});
        break;
      }
      case Param::ArgHigh:
        break;
      case Param::Number:
      case Param::NumberHigh: {
        const ir::Node::Imm number = s.numbers[p.i];
        const auto type = static_cast<DType>(p.j);
        const int64_t bits = is_float(type) ? std::bit_cast<int64_t>(number.f) : number.i;
        value = type == DType::F32 ? std::bit_cast<int32_t>(static_cast<float>(number.f)) : p.kind == Param::NumberHigh ? bits >> 32 : bits;
        break;
      }
      case Param::Address:
        if (p.j == 0) l.addresses.push_back({static_cast<int32_t>(w), p.i});
        break;
      case Param::Partial:
        value = p.i * s.rows * s.chunks * (8 / p.j);  // in elements of p.j bytes
        break;
    }
    l.params.push_back(static_cast<uint32_t>(value));
  }
  if (static_cast<int>(l.bindings.size()) < kernel.shader->bindings)
    l.bindings.push_back({kParams, 0, 4 * static_cast<int64_t>(l.params.size())});
  if (l.bindings.size() > caps.max_bindings)
    throw Error(ErrorKind::Value, "[" + name + "] touches " + std::to_string(l.bindings.size()) + " buffers at once, this device binds " +
                                      std::to_string(caps.max_bindings));
  return l;
}

}  // namespace

Compiled compile_generic(const ir::Generic& g, const Capabilities& caps) {
  const Schedule s = schedule(g, caps);
  Compiled c;
  if (s.nothing) return c;
  require_types(g, s.spec, caps);
  if (s.spec.split_dim < 0) {
    const auto kernel = kernel_for(s.spec, caps, g.name);
    for (int64_t first = 0; first < s.ordered; first += s.ordered_a_launch)
      c.launches.push_back(launch(s, s.spec, *kernel, caps, g.name, s.groups, 1, first));
    return c;
  }
  const ir::Stages stages = stages_of(s.spec);
  c.scratch_bytes = int64_t{stages.partials} * s.rows * s.chunks * 8;
  for (int phase = 0; phase <= stages.count; ++phase) {
    if (phase == stages.count && !stages.full && !stages.once) break;
    KernelSpec spec = s.spec;
    spec.phase = phase;
    const bool all = phase < stages.count || stages.full;
    c.launches.push_back(launch(s, spec, *kernel_for(spec, caps, g.name), caps, g.name, s.groups, all ? s.chunks : 1));
  }
  return c;
}

}  // namespace anygpu::vulkan
