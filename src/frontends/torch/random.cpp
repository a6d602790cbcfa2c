#include "random.h"

#include <ATen/Functions.h>
#include <c10/core/GeneratorImpl.h>

#include <mutex>
#include <vector>

#include "tensor.h"

namespace anygpu::torch_frontend {

namespace {

class PhiloxGenerator final : public c10::GeneratorImpl {
 public:
  explicit PhiloxGenerator(c10::DeviceIndex index)
      : GeneratorImpl(c10::Device(c10::DeviceType::PrivateUse1, index), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1)) {
    state_.set_seed(c10::default_rng_seed_val);
  }

  void set_current_seed(uint64_t seed) override { state_.set_seed(seed); }
  void set_offset(uint64_t offset) override { state_.set_offset(offset); }
  uint64_t get_offset() const override { return state_.offset(); }
  uint64_t current_seed() const override { return state_.seed(); }
  uint64_t seed() override {
    set_current_seed(c10::detail::getNonDeterministicRandom());
    return state_.seed();
  }

  void set_state(const c10::TensorImpl& state) override {
    at::detail::check_rng_state(state);
    TORCH_CHECK(state.numel() == PhiloxState::kBytes, "RNG state is wrong size: ", state.numel(), " bytes, not ", PhiloxState::kBytes);
    state_.read(state.data());
  }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
    at::Tensor t = at::empty({static_cast<int64_t>(PhiloxState::kBytes)}, at::TensorOptions().dtype(at::kByte).device(at::kCPU));
    state_.write(t.mutable_data_ptr());
    return t.getIntrusivePtr();
  }

  Philox reserve(uint64_t blocks) { return state_.reserve(blocks); }

 private:
  PhiloxGenerator* clone_impl() const override {
    auto* g = new PhiloxGenerator(device().index());
    g->state_ = state_;
    return g;
  }

  PhiloxState state_;
};

}  // namespace

const at::Generator& default_generator(c10::DeviceIndex index) {
  static auto* generators = [] {
    auto* all = new std::vector<at::Generator>;  // leaked
    for (int i = 0; i < device_count(); ++i) {
      all->push_back(make_generator(static_cast<c10::DeviceIndex>(i)));
      all->back().seed();
    }
    return all;
  }();
  const size_t i = static_cast<size_t>(index < 0 ? current_device() : index);
  TORCH_CHECK(i < generators->size(), "anygpu: no device ", i, " to have a generator");
  return (*generators)[i];
}

at::Generator make_generator(c10::DeviceIndex index) {
  return at::make_generator<PhiloxGenerator>(index < 0 ? current_device() : index);
}

Philox philox_of(const std::optional<at::Generator>& given, c10::DeviceIndex device, uint64_t blocks) {
  const at::Generator& g = given && given->defined() ? *given : default_generator(device);
  TORCH_CHECK(g.device().type() == c10::DeviceType::PrivateUse1, "Expected a 'anygpu' device type for generator but found '",
              g.device().type(), "'");
  auto* philox = static_cast<PhiloxGenerator*>(g.unsafeGetGeneratorImpl());
  std::lock_guard<std::mutex> lock(philox->mutex_);
  return philox->reserve(blocks);
}

}  // namespace anygpu::torch_frontend
