#include "backends/cpu/library/module/execution.h"

#include <algorithm>

#include "backends/cpu/library/module/strided_copy.h"
#include "backends/cpu/library/module/team.h"

namespace anygpu::cpu {
namespace {

void* address(const ArrayRef& a, const Memory* slots) {
  const Memory& m = slots[a.slot];
  return static_cast<char*>(m.handle) + m.offset + a.offset * size_of(a.dtype);
}

void bind(dnnl::memory& memory, void* data) {
  // Setting a handle zeroes a blocked layout's padding; each primitive does that for what it writes, too.
  if (memory.get_data_handle() != data) memory.set_data_handle(data);
}

class Fill final : public PreparedNamed {
 public:
  Fill(const ArrayRef& dst, const ArrayRef* from) : dst_(dst), has_from_(from) {
    if (from) from_ = *from;
  }

  void run(const Memory* slots) override {
    if (product(dst_.sizes) == 0) return;
    int bytes = static_cast<int>(size_of(dst_.dtype));
    if (has_from_)
      strided_copy(bytes, dst_.sizes, address(dst_, slots), dst_.strides, address(from_, slots), from_.strides);
    else
      strided_zero(bytes, dst_.sizes, address(dst_, slots), dst_.strides);
  }

 private:
  ArrayRef dst_, from_{};
  bool has_from_;
};

}  // namespace

void settle_unit_strides(ArrayRef& a) {
  if (a.block > 1) return;
  for (int d = a.sizes.size() - 1; d >= 0; --d) {
    if (a.sizes[d] == 1) a.strides[d] = d + 1 == a.sizes.size() ? 1 : a.strides[d + 1] * a.sizes[d + 1];
  }
}

bool is_copied(const ArrayRef& a) {
  if (a.dense_copy) return true;
  int order[kMaxRank], n = 0;
  for (int d = 0; d < a.sizes.size(); ++d) {
    if (a.sizes[d] > 1) order[n++] = d;
  }
  std::sort(order, order + n, [&](int x, int y) { return a.strides[x] < a.strides[y]; });
  int64_t least = 1;
  for (int i = 0; i < n; ++i) {
    if (a.strides[order[i]] < least) return true;
    least = a.strides[order[i]] * a.sizes[order[i]];
  }
  return false;
}

onednn::Desc plain_desc(const ArrayRef& a) {
  if (a.block > 1) return onednn::Desc(onednn::to_dims(a.sizes), onednn::to_type(a.dtype), onednn::in_blocks(a.sizes.size(), a.block));
  return onednn::Desc(onednn::to_dims(a.sizes), onednn::to_type(a.dtype),
                      onednn::to_dims(is_copied(a) ? contiguous_strides(a.sizes) : a.strides));
}

size_t Execution::reserve(size_t bytes) {
  size_t at = scratch_bytes_;
  scratch_bytes_ += (bytes + 63) / 64 * 64;
  return at;
}

void Execution::add(int arg, bool is_output, const ArrayRef& array, const onednn::Desc& wanted) {
  Arg a{arg, is_output, array, is_copied(array), false, plain_desc(array), wanted, {}, {}, {}, {}};
  a.reorder = a.plain != wanted;
  a.plain_memory = dnnl::memory(a.plain, onednn::engine(), nullptr);
  if (a.pack) a.pack_at = reserve(a.plain.get_size());
  if (a.reorder) {
    a.wanted_at = reserve(wanted.get_size());
    a.wanted_memory = dnnl::memory(wanted, onednn::engine(), nullptr);
    const onednn::Desc& from = is_output ? a.wanted : a.plain;
    const onednn::Desc& to = is_output ? a.plain : a.wanted;
    dnnl::reorder::primitive_desc desc(onednn::engine(), from, onednn::engine(), to, onednn::attributes(false));
    a.reorder_primitive = dnnl::reorder(desc);
    if (desc.scratchpad_desc().get_size() > 0) {
      a.reorder_scratch_at = reserve(desc.scratchpad_desc().get_size());
      a.reorder_scratch = dnnl::memory(desc.scratchpad_desc(), onednn::engine(), nullptr);
    }
  }
  args_.push_back(std::move(a));
}

void Execution::input(int arg, const ArrayRef& array, const onednn::Desc& wanted) {
  add(arg, false, array, wanted);
}
void Execution::output(int arg, const ArrayRef& array, const onednn::Desc& wanted) {
  add(arg, true, array, wanted);
}

void Execution::start_output_from(const ArrayRef& from) {
  has_start_ = true;
  start_ = from;
}

void Execution::finish(dnnl::primitive primitive, const onednn::Desc& scratchpad) {
  primitive_ = std::move(primitive);
  stream_ = std::make_unique<dnnl::stream>(onednn::engine());
  for (Arg& a : args_) bound_.emplace(a.id, a.reorder ? a.wanted_memory : a.plain_memory);
  if (scratchpad.get_size() > 0) {
    scratchpad_at_ = reserve(scratchpad.get_size());
    scratchpad_ = dnnl::memory(scratchpad, onednn::engine(), nullptr);
    bound_.emplace(DNNL_ARG_SCRATCHPAD, scratchpad_);
  }
}

void Execution::reorder(Arg& a, char* scratch) {
  dnnl::memory& from = a.is_output ? a.wanted_memory : a.plain_memory;
  dnnl::memory& to = a.is_output ? a.plain_memory : a.wanted_memory;
  if (!a.reorder_scratch) return a.reorder_primitive.execute(*stream_, from, to);
  bind(a.reorder_scratch, scratch + a.reorder_scratch_at);
  std::unordered_map<int, dnnl::memory> args{{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}, {DNNL_ARG_SCRATCHPAD, a.reorder_scratch}};
  a.reorder_primitive.execute(*stream_, args);
}

void Execution::run(const Memory* slots) {
  std::lock_guard lock(mutex_);
  TeamScope threads(threads_);
  ScratchLease scratch(scratch_bytes_, op_);
  translate(op_, "run", [&] { execute(slots, scratch.data()); });
}

void Execution::execute(const Memory* slots, char* scratch) {
  for (Arg& a : args_) {
    void* user = address(a.array, slots);
    void* plain = a.pack ? scratch + a.pack_at : user;
    bind(a.plain_memory, plain);
    if (a.reorder) bind(a.wanted_memory, scratch + a.wanted_at);
    if (a.is_output) {
      if (has_start_) {
        const Dims& strides = a.pack ? contiguous_strides(a.array.sizes) : a.array.strides;
        strided_copy(static_cast<int>(size_of(a.array.dtype)), a.array.sizes, plain, strides, address(start_, slots), start_.strides);
      }
      continue;
    }
    if (a.pack) {
      strided_copy(static_cast<int>(size_of(a.array.dtype)), a.array.sizes, plain, contiguous_strides(a.array.sizes), user,
                   a.array.strides);
    }
    if (a.reorder) reorder(a, scratch);
  }
  if (scratchpad_) bind(scratchpad_, scratch + scratchpad_at_);
  primitive_.execute(*stream_, bound_);
  for (Arg& a : args_) {
    if (!a.is_output) continue;
    if (a.reorder) reorder(a, scratch);
    if (a.pack) {
      strided_copy(static_cast<int>(size_of(a.array.dtype)), a.array.sizes, address(a.array, slots), a.array.strides, scratch + a.pack_at,
                   contiguous_strides(a.array.sizes));
    }
  }
}

std::unique_ptr<PreparedNamed> make_fill(const ArrayRef& dst, const ArrayRef* from) {
  return std::make_unique<Fill>(dst, from);
}

}  // namespace anygpu::cpu
