#include "fallback.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/stack.h>

#include <unordered_map>
#include <vector>

#include "copy.h"
#include "quantized.h"
#include "random.h"

namespace anygpu::torch_frontend {

namespace {

std::string name_of(const c10::OperatorHandle& op) {
  const c10::OperatorName& n = op.operator_name();
  return n.overload_name.empty() ? n.name : n.name + "." + n.overload_name;
}

void enter(const c10::OperatorHandle& op) {
  const fallbacks::Entry entry = with_ledger([&] { return fallbacks::enter(name_of(op)); });
  TORCH_CHECK_NOT_IMPLEMENTED(!entry.forbidden, entry.words);
  if (!entry.words.empty()) TORCH_WARN(entry.words);
}

/// One call, carried to the CPU. Tensors of one storage stay tensors of one storage there, with the same strides and the same
/// distances, so that in-place operators on views and overlapping arguments mean the same.
class CpuCall {
 public:
  /// asked: the CPU is to say first whether the call is right in itself, also where an argument is lost.
  CpuCall(const c10::OperatorHandle& op, torch::jit::Stack* stack, bool asked = false)
      : op_(op), stack_(stack), arguments_(op.schema().arguments()), first_(stack->size() - arguments_.size()), asked_(asked) {}

  /// What the CPU refuses is thrown here; nothing of the device has changed then.
  void compute() {
    originals_.assign(stack_->begin() + static_cast<std::ptrdiff_t>(first_), stack_->end());
    for (size_t i = 0; i < arguments_.size(); ++i) survey(originals_[i]);
    for (auto& [impl, host] : storages_) fetch(impl, host);
    for (size_t i = 0; i < arguments_.size(); ++i) (*stack_)[first_ + i] = moved(arguments_[i], originals_[i]);
    if (lost_ && !asked_) std::rethrow_exception(lost_);
    op_.redispatchBoxed(c10::DispatchKeySet(quantised_ ? c10::DispatchKey::QuantizedCPU : c10::DispatchKey::CPU), stack_);
    if (lost_) std::rethrow_exception(lost_);
  }
  void deliver() {
    for (const Pair& p : written_) write_back(p);
    give_returns();
  }

 private:
  /// The part of a storage that the call can see, on the host.
  struct HostStorage {
    int64_t begin = INT64_MAX, end = 0;  // bytes of the device's storage
    c10::Storage device;
    c10::DispatchKeySet keys;
    at::Tensor bytes;
  };
  struct Pair {
    at::Tensor device, cpu;
  };

  // ---- arguments ----

  template <class F>
  static void each_tensor(const c10::IValue& v, F f) {
    if (v.isTensor()) {
      if (v.toTensor().defined()) f(v.toTensor());
    } else if (v.isTensorList()) {
      for (const at::Tensor& t : v.toTensorVector())
        if (t.defined()) f(t);
    } else if (v.isOptionalTensorList()) {
      for (const std::optional<at::Tensor>& t : v.toOptionalTensorVector())
        if (t && t->defined()) f(*t);
    }
  }

  void survey(const c10::IValue& v) {
    each_tensor(v, [&](const at::Tensor& t) {
      quantised_ |= t.is_quantized();
      if (!is_anygpu(t)) return;
      if (device_ < 0) device_ = t.get_device();
      const ByteRange r = bytes_of(t);
      HostStorage& s = storages_[t.storage().unsafeGetStorageImpl()];
      s.device = t.storage();
      s.keys = t.is_quantized() ? c10::DispatchKeySet(c10::DispatchKey::PrivateUse1) : t.key_set();
      s.begin = std::min(s.begin, r.begin / 16 * 16);  // every dtype's elements stay whole
      s.end = std::max(s.end, r.end);
    });
    if (v.isDevice() && v.toDevice().type() == c10::DeviceType::PrivateUse1 && device_ < 0) device_ = index_of(v.toDevice());
  }

  void fetch(c10::StorageImpl*, HostStorage& s) {
    const int64_t size = std::max<int64_t>(0, std::min<int64_t>(s.end, static_cast<int64_t>(s.device.nbytes())) - s.begin);
    s.bytes = at::empty({size}, at::TensorOptions().dtype(at::kByte).device(at::kCPU));
    if (size == 0) return;
    const at::Tensor all = at::empty({0}, at::TensorOptions().dtype(at::kByte).device(s.device.device())).set_(s.device);
    const Place p = place_of(all);
    try {
      translated([&] { device_of(all).download(*p.buffer, p.offset + s.begin, s.bytes.mutable_data_ptr(), size); });
    } catch (...) {
      // An earlier call's failure. Whether this one is right in itself does not depend on what it would have read.
      if (!lost_) lost_ = std::current_exception();
      s.bytes.zero_();
    }
  }

  at::Tensor moved(const at::Tensor& t, bool write) {
    if (!t.defined() || !is_anygpu(t)) return t;
    const HostStorage& s = storages_.at(t.storage().unsafeGetStorageImpl());
    at::Tensor cpu = at::empty({0}, at::TensorOptions().dtype(c10::toUnderlying(t.scalar_type())).device(at::kCPU));
    const int64_t offset = t.numel() ? t.storage_offset() - s.begin / static_cast<int64_t>(t.itemsize()) : 0;
    cpu.set_(s.bytes.storage(), offset, t.sizes(), t.strides());
    cpu._set_conj(t.is_conj());
    cpu._set_neg(t.is_neg());
    if (t.is_quantized()) cpu = quantised_as(cpu, t);
    if (t.unsafeGetTensorImpl()->is_wrapped_number()) cpu.unsafeGetTensorImpl()->set_wrapped_number(true);
    if (write) written_.push_back({t, cpu});
    return cpu;
  }

  c10::IValue moved(const c10::Argument& a, const c10::IValue& v) {
    const bool write = a.alias_info() && a.alias_info()->isWrite();
    if (v.isTensor()) return moved(v.toTensor(), write);
    if (v.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& t : v.toTensorVector()) list.push_back(moved(t, write));
      return list;
    }
    if (v.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> list;
      for (const std::optional<at::Tensor>& t : v.toOptionalTensorVector())
        list.push_back(t ? std::optional(moved(*t, write)) : std::nullopt);
      return list;
    }
    if (v.isDevice() && v.toDevice().type() == c10::DeviceType::PrivateUse1) return c10::Device(at::kCPU);
    if (takes_generator(a)) return cpu_generator(v.isNone() ? std::nullopt : std::optional(v.toGenerator()));
    return v;
  }

  static bool takes_generator(const c10::Argument& a) {
    const c10::TypePtr& t = a.type();
    if (t->kind() == c10::TypeKind::GeneratorType) return true;
    return t->kind() == c10::TypeKind::OptionalType &&
           t->castRaw<c10::OptionalType>()->getElementType()->kind() == c10::TypeKind::GeneratorType;
  }

  /// The device's random state decides, so that manual_seed on the device and checkpointing hold for operators that run here.
  at::Generator cpu_generator(const std::optional<at::Generator>& given) {
    if (given && given->device().is_cpu()) return *given;
    return at::detail::createCPUGenerator(philox_of(given, device_, 1).as_seed());
  }

  // ---- results ----

  void write_back(const Pair& p) {
    if (p.device.sizes() != p.cpu.sizes() || (p.device.strides() != p.cpu.strides() && p.cpu.numel())) {
      resize_tensor(p.device.unsafeGetTensorImpl(), p.cpu.sizes(), p.cpu.strides());
    }
    copy_tensor(p.device, p.cpu);
  }

  /// A view of an argument's storage becomes a view of the device's; anything else is copied there.
  at::Tensor returned(const at::Tensor& cpu, bool alias) {
    if (!cpu.defined() || !cpu.device().is_cpu()) return cpu;
    if (alias) {
      for (const auto& [impl, s] : storages_) {
        if (!cpu.storage().is_alias_of(s.bytes.storage())) continue;
        if (cpu.is_quantized()) return quantised_as(returned(integers_of(cpu), true), cpu);
        at::Tensor view = at::detail::make_tensor<c10::TensorImpl>(c10::TensorImpl::VIEW, c10::Storage(s.device), s.keys, cpu.dtype());
        view.unsafeGetTensorImpl()->set_storage_offset(cpu.storage_offset() + s.begin / static_cast<int64_t>(cpu.itemsize()));
        view.unsafeGetTensorImpl()->set_sizes_and_strides(cpu.sizes(), cpu.strides());
        view._set_conj(cpu.is_conj());
        view._set_neg(cpu.is_neg());
        return view;
      }
    }
    return to_device(cpu, device_);
  }

  void give_returns() {
    const auto& returns = op_.schema().returns();
    const size_t first = stack_->size() - returns.size();
    for (size_t i = 0; i < returns.size(); ++i) {
      c10::IValue& v = (*stack_)[first + i];
      const c10::AliasInfo* alias = returns[i].alias_info();
      if (alias && alias->isWrite()) {
        for (size_t a = 0; a < arguments_.size(); ++a) {
          const c10::AliasInfo* info = arguments_[a].alias_info();
          if (info && info->isWrite() && info->beforeSets() == alias->beforeSets()) v = originals_[a];
        }
      } else if (v.isTensor()) {
        v = returned(v.toTensor(), alias != nullptr);
      } else if (v.isTensorList()) {
        c10::List<at::Tensor> list;
        for (const at::Tensor& t : v.toTensorVector()) list.push_back(returned(t, alias != nullptr));
        v = list;
      }
    }
  }

  const c10::OperatorHandle& op_;
  torch::jit::Stack* stack_;
  const std::vector<c10::Argument>& arguments_;
  const size_t first_;
  const bool asked_;
  std::vector<c10::IValue> originals_;
  std::unordered_map<c10::StorageImpl*, HostStorage> storages_;
  std::vector<Pair> written_;
  c10::DeviceIndex device_ = -1;
  bool quantised_ = false;    // some argument is
  std::exception_ptr lost_;  // why some argument cannot be read
};

}  // namespace

void cpu_fallback(const c10::OperatorHandle& op, c10::DispatchKeySet, torch::jit::Stack* stack) {
  enter(op);
  CpuCall call(op, stack);
  call.compute();
  call.deliver();
}

void refused_to_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  CpuCall call(op, stack, /*asked=*/true);
  call.compute();
  enter(op);
  call.deliver();
}

}  // namespace anygpu::torch_frontend
