// A Generic as Launches: its schedule, the kernels for it (found again where only sizes changed), and what their params are now.
#include <algorithm>
#include <bit>
#include <mutex>

#include "anygpu/error.h"
#include "backends/cache/code_cache.h"
#include "emit/kernel.h"
#include "steps.h"

namespace anygpu::gpu {
namespace {

using ir::ExprOp;

/// Of a binding; to begin with, nothing.
constexpr Extent kNothing{INT64_MAX, INT64_MIN};

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
  std::vector<Extent> extents(spec.bindings, kNothing);
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

std::shared_ptr<const Emitted> kernel_for(const KernelSpec& spec, const Target& target, const std::string& name) {
  static std::mutex& mutex = *new std::mutex;
  static auto& made = *new CodeCache<std::string, const Emitted>;
  std::string key = spec.key();
  key += static_cast<char>(target.storage8 | target.storage16 << 1 | target.float_controls_f32 << 2 | target.denormals << 3);
  key += std::to_string(target.push_bytes);
  key += "@" + std::to_string(reinterpret_cast<uintptr_t>(target.api));
  std::lock_guard lock(mutex);
  if (auto found = made.find(key)) return found;
  const auto kernel = std::make_shared<const Emitted>(target.api->emit(spec, target, name));
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

/// Of one launch of a schedule.
struct Share {
  int64_t groups, chunks, first;
};

std::vector<Binding> bindings_of(const Schedule& s, const KernelSpec& spec, const std::vector<Extent>& extents) {
  std::vector<Binding> all;
  for (int b = 0; b < spec.bindings; ++b) {
    Binding binding{};
    if (b == spec.faults) {
      binding = {kFaults, 0, kFaultBytes, true};
    } else if (b == spec.scratch) {
      binding = {kScratch, 0, INT64_MAX, true};
    } else if (spec.texels >> b & 1) {
      for (size_t a = 0; a < spec.accesses.size(); ++a) {
        const KernelAccess& access = spec.accesses[a];
        const Extent& e = extents[access.binding];
        if (access.texels == b) binding = {s.places[a].slot, e.begin, e.end, false};
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
    all.push_back(binding);
  }
  return all;
}

/// A word of a number that a kernel takes because of sizes.
int64_t number_word(const ir::Node::Imm& number, const Param& p) {
  const auto type = static_cast<DType>(p.j);
  if (type == DType::F32) return std::bit_cast<int32_t>(static_cast<float>(number.f));
  const int64_t bits = is_float(type) ? std::bit_cast<int64_t>(number.f) : number.i;
  return p.kind == Param::NumberHigh ? bits >> 32 : bits;
}

/// What a param is in this launch; 0 where a run puts it there.
int64_t value_of(const Param& p, const Schedule& s, const KernelSpec& spec, const std::vector<Extent>& extents, const Share& share,
                 uint32_t groups_x) {
  switch (p.kind) {
    case Param::Rows:
      return s.rows;
    case Param::GroupsX:
      return groups_x;
    case Param::Blocks:
      return s.blocks;
    case Param::Chunk:
      return s.chunk;
    case Param::Chunks:
      return s.chunks;
    case Param::First:
      return share.first;
    case Param::Last:
      return std::min(share.first + s.ordered_a_launch, s.ordered);
    case Param::Size:
      return s.sizes[p.i];
    case Param::Offset: {
      const KernelAccess& a = spec.accesses[p.i];
      return s.places[p.i].offset - extents[a.binding].begin / size_of(a.dtype);
    }
    case Param::Stride:
      return s.places[p.i].strides[p.j];
    case Param::Partial:
      return p.i * s.rows * s.chunks * (8 / p.j);  // in elements of p.j bytes
    case Param::Number:
    case Param::NumberHigh:
      return number_word(s.numbers[p.i], p);
    case Param::Rest:                              // where a binding begins within what the API binds: the API adds it
    case Param::Arg:
    case Param::ArgHigh:
    case Param::Address:
      return 0;
  }
  return 0;
}

Launch launch(const Schedule& s, const KernelSpec& spec, const Emitted& kernel, const Capabilities& caps, const std::string& name,
              const Share& share) {
  Launch l;
  l.kernel = kernel.kernel;
  lay_groups(l, share.groups, caps, name);
  if (share.chunks > caps.max_groups[2])
    throw Error(ErrorKind::Value, "[" + name + "] is cut into " + std::to_string(share.chunks) + " chunks, more than this device runs");
  l.groups[2] = static_cast<uint32_t>(share.chunks);
  l.work = s.work;
  const std::vector<Extent> extents = extents_of(s);
  l.bindings = bindings_of(s, spec, extents);
  for (size_t w = 0; w < kernel.params.size(); ++w) {
    const Param& p = kernel.params[w];
    const auto word = static_cast<int32_t>(w);
    l.params.push_back(static_cast<uint32_t>(value_of(p, s, spec, extents, share, l.groups[0])));
    if (p.kind == Param::Address && p.j == 0) l.addresses.push_back({word, p.i});
    if (p.kind != Param::Arg) continue;
    auto type = static_cast<DType>(p.j);
    const bool whole = w + 1 < kernel.params.size() && kernel.params[w + 1] == Param{Param::ArgHigh, p.i, p.j};
    if (type == DType::I64 && !whole) type = DType::I32;
    l.scalars.push_back({word, s.args[p.i], type});
  }
  if (static_cast<uint32_t>(l.kernel->bindings) > caps.max_bindings)
    throw Error(ErrorKind::Value, "[" + name + "] touches " + std::to_string(l.kernel->bindings) + " buffers at once, this device binds " +
                                      std::to_string(caps.max_bindings));
  return l;
}

}  // namespace

Compiled compile_generic(const ir::Generic& g, const Target& caps) {
  const Schedule s = schedule(g, caps);
  Compiled c;
  if (s.nothing) return c;
  require_types(g, s.spec, caps);
  if (s.spec.split_dim < 0) {
    const auto kernel = kernel_for(s.spec, caps, g.name);
    for (int64_t first = 0; first < s.ordered; first += s.ordered_a_launch)
      c.launches.push_back(launch(s, s.spec, *kernel, caps, g.name, {s.groups, 1, first}));
    return c;
  }
  const ir::Stages stages = stages_of(s.spec);
  c.scratch_bytes = int64_t{stages.partials} * s.rows * s.chunks * 8;
  for (int phase = 0; phase <= stages.count; ++phase) {
    if (phase == stages.count && !stages.full && !stages.once) break;
    KernelSpec spec = s.spec;
    spec.phase = phase;
    const bool all = phase < stages.count || stages.full;
    c.launches.push_back(launch(s, spec, *kernel_for(spec, caps, g.name), caps, g.name, {s.groups, all ? s.chunks : 1, 0}));
  }
  return c;
}

}  // namespace anygpu::gpu
