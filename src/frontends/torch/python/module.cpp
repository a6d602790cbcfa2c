// The part of the frontend that needs Python: what torch.anygpu and anygpu call.
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/Generator.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/utils/device_lazy_init.h>
#include <torch/csrc/utils/pybind.h>
#include <torch/headeronly/version.h>

#include "anygpu/host.h"
#include "anygpu/visible.h"
#include "fallback.h"
#include "host.h"
#include "profiler.h"
#include "python/module.h"
#include "random.h"
#include "tensor.h"

namespace anygpu::torch_frontend {
namespace {

c10::DeviceIndex index(int64_t i) {
  return static_cast<c10::DeviceIndex>(i);
}

void set_device(int64_t i) {
  c10::impl::getDeviceGuardImpl(kType)->setDevice({kType, index(i)});
}

/// -1 changes nothing. Returns the device that was current.
int64_t exchange_device(int64_t i) {
  const int64_t old = current_device();
  if (i >= 0) set_device(i);
  return old;
}

/// Opens the current device. PyTorch calls it, through torch.anygpu._lazy_init, before the first tensor is made.
void init() {
  torch::utils::register_fork_handler_for_device_init(kType);
  device_at(-1);
}

py::dict info(int64_t i) {
  const DeviceInfo& d = device_at(index(i)).info();
  py::dict r;
  r["name"] = d.name;
  r["backend"] = d.backend;
  r["driver"] = d.driver;
  r["total_memory"] = d.memory_bytes;
  r["features"] = d.features;
  r["pci_address"] = d.pci_address;
  return r;
}

py::dict memory(int64_t i) {
  const MemoryStats m = device_at(index(i)).memory_stats();
  py::dict r;
  r["allocated"] = m.allocated;
  r["allocated_peak"] = m.allocated_peak;
  r["reserved"] = m.reserved;
  r["reserved_peak"] = m.reserved_peak;
  r["allocations"] = m.allocations;
  r["frees"] = m.frees;
  r["limit"] = m.limit;
  r["retries"] = m.retries;
  r["out_of_memory"] = m.out_of_memory;
  return r;
}

py::dict run_stats(int64_t i) {
  const RunStats s = device_at(index(i)).run_stats();
  py::dict r;
  r["flushes"] = s.flushes;
  r["plans_compiled"] = s.plans_compiled;
  r["kernels_compiled"] = s.kernels_compiled;
  r["kernels_run"] = s.kernels_run;
  r["operators"] = s.operators;
  return r;
}

/// Whether Python has no say in its operators. It has in a DTensor's, and other subclasses', which need not know what would stand for many.
bool plain(const at::Tensor& t) {
  return !t.unsafeGetTensorImpl()->key_set().has(c10::DispatchKey::Python);
}

/// Whether all are plain tensors of this device, in a dtype whose elementary operators do not round in between.
bool usual(const std::vector<at::Tensor>& tensors) {
  for (const at::Tensor& t : tensors)
    if (!is_anygpu(t) || !plain(t) || (t.scalar_type() != at::kFloat && t.scalar_type() != at::kDouble)) return false;
  return true;
}

/// Whether one recorded operator may stand for an optimizer's step over these lists. If so, the step counts on the CPU (there may be
/// none) have been advanced by one: PyTorch would call an operator for each.
bool begin_step(const std::vector<at::Tensor>& params, const std::vector<at::Tensor>& grads, const std::vector<at::Tensor>& steps) {
  if (!usual(params) || !usual(grads)) return false;
  for (const at::Tensor& t : steps) {
    if (!t.is_cpu() || t.numel() != 1 || !plain(t) || (t.scalar_type() != at::kFloat && t.scalar_type() != at::kDouble)) return false;
  }
  for (const at::Tensor& t : steps) {
    if (t.scalar_type() == at::kFloat)
      *t.mutable_data_ptr<float>() += 1;
    else
      *t.mutable_data_ptr<double>() += 1;
    t.unsafeGetTensorImpl()->bump_version();
  }
  return true;
}

template <class F>
auto unlocked(F f) {
  py::gil_scoped_release release;
  return translated(f);
}

/// Waits until autograd's device threads have let go of what earlier backward passes held. backward() returns as soon as the gradients are
/// there; the thread that computed them still frees the graph, for which it takes Python's lock. A device thread takes one task at a
/// time, so a backward pass of its own, without elements and without a Python object, comes after all that.
void await_backward() {
  const c10::InferenceMode inference(false);
  const at::AutoGradMode record(true);
  for (c10::DeviceIndex i = 0; i < device_count(); ++i) {
    const at::TensorOptions options = at::TensorOptions().dtype(at::kFloat).device(at::Device(kType, i));
    const at::Tensor leaf = at::empty({0}, options).requires_grad_(true);
    torch::autograd::grad({leaf.view({0})}, {leaf}, {at::empty({0}, options)});
  }
}

/// A CPU tensor over the same bytes, when all that was recorded has run; nothing where the device's memory is not the host's.
std::optional<at::Tensor> host_view(const at::Tensor& t) {
  if (t.is_conj() || t.is_neg() || t.is_quantized()) return std::nullopt;
  const Place p = place_of(t);
  auto* bytes = static_cast<char*>(unlocked([&] { return host_bytes(*p.buffer); }));
  if (!bytes && p.buffer->bytes) return std::nullopt;
  bytes += p.offset + t.storage_offset() * static_cast<int64_t>(t.itemsize());
  return at::from_blob(bytes, t.sizes(), t.strides(), [kept = c10::Storage(t.storage())](void*) {}, at::device(at::kCPU).dtype(t.dtype()));
}

template <class F>
void define(py::module_& m, const char* name, F f) {
  m.def(name, torch::wrap_pybind_function(f));
}

PYBIND11_MODULE(_torch, m) {
  define(
      m, "device_count", +[] { return static_cast<int64_t>(device_count()); });
  define(
      m, "current_device", +[] { return static_cast<int64_t>(current_device()); });
  define(m, "set_device", &set_device);
  define(m, "exchange_device", &exchange_device);
  define(m, "init", &init);
  define(
      m, "initialized", +[] { return initialized(); });
  define(
      m, "in_bad_fork", +[] { return in_bad_fork(); });
  define(
      m, "registered_name", +[] { return c10::get_privateuse1_backend(); });
  define(
      m, "torch_version", +[] { return std::string(TORCH_VERSION); });

  define(
      m, "synchronize", +[](int64_t i) { unlocked([&] { device_at(index(i)).synchronize(); }); });
  define(
      m, "flush", +[](int64_t i) { unlocked([&] { device_at(index(i)).flush(); }); });
  define(
      m, "flush_all", +[] { unlocked([] { flush_all(); }); });

  define(
      m, "await_backward", +[] { unlocked([] { await_backward(); }); });

  define(
      m, "answer_for_python", +[](std::vector<std::string> inside) { answer_for_python(std::move(inside)); });
  define(
      m, "keep_stacks", +[](bool yes) {
        const bool before = keeps_stacks();
        keep_stacks(yes);
        return before;
      });

  define(m, "host_view", &host_view);

  define(m, "info", &info);
  define(m, "memory", &memory);
  define(
      m, "reset_peak_memory", +[](int64_t i) { device_at(index(i)).reset_peak_memory_stats(); });
  define(
      m, "set_memory_limit", +[](int64_t i, int64_t bytes) { device_at(index(i)).set_memory_limit(bytes); });
  define(
      m, "empty_cache", +[](int64_t i) { unlocked([&] { device_at(index(i)).empty_cache(); }); });

  define_memory_history(m);
  m.attr("PROFILES_KERNELS") = kProfilesKernels;
  m.def("take_profiled_kernels", [] {
    py::list list;
    for (const ProfiledKernel& k : take_profiled_kernels()) list.append(py::make_tuple(k.id, k.operators, k.shapes));
    return list;
  });
  define(m, "begin_step", &begin_step);
  define(m, "run_stats", &run_stats);
  define(
      m, "explain",
      +[](int64_t i, int64_t plans) { return unlocked([&] { return device_at(index(i)).explain(static_cast<int>(plans)); }); });
  define(
      m, "op_names", +[] {
        std::vector<std::string> names;
        for (std::string_view n : op_names()) names.emplace_back(n);
        return names;
      });

  define(
      m, "fallback_counts", +[] { return with_ledger([] { return fallbacks::counts(); }); });
  define(
      m, "reset_fallback_counts", +[] { with_ledger([] { fallbacks::reset_counts(); }); });
  define(
      m, "fallback_mode", +[] { return with_ledger([] { return fallbacks::mode(); }); });
  define(
      m, "set_fallback_mode", +[](const std::string& mode) { with_ledger([&] { fallbacks::set_mode(mode); }); });

  define(
      m, "default_generator",
      +[](int64_t i) { return py::reinterpret_steal<py::object>(THPGenerator_initDefaultGenerator(default_generator(index(i)))); });
  define(
      m, "philox", +[](const std::optional<at::Generator>& g, int64_t device, int64_t blocks) {
        const Philox p = philox_of(g, index(device), static_cast<uint64_t>(blocks));
        return std::make_pair(p.seed, p.offset);
      });
}

}  // namespace
}  // namespace anygpu::torch_frontend
