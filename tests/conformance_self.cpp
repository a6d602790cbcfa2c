// The suite watches backends; who watches the suite? A backend that is wrong in one small way at a time: each must be noticed.
#include <cstring>

#include "backends/reference/entry.h"
#include "conformance.h"

namespace anygpu::conformance {
namespace {

enum class Sabotage { None, WritesBehind, WritesBefore, WritesIntoAGap, OneUlp, WrongElement, HidesFaults, InventsFaults };

class SabotagedProgram : public BlockingProgram {
 public:
  SabotagedProgram(std::unique_ptr<Program> real, Sabotage how) : real_(std::move(real)), how_(how) {}

  int64_t launches() const override { return real_->launches(); }

 protected:
  std::vector<StepFailure> run_steps(const Bindings& b, std::vector<StepTime>* times) override {
    std::vector<StepFailure> failures = real_->run(b, times);
    const Memory& out = b.slots.back();
    char* at = static_cast<char*>(out.handle) + out.offset;
    if (how_ == Sabotage::WritesBehind) at[out.bytes] ^= 1;
    if (how_ == Sabotage::WritesBefore) at[-1] ^= 1;
    if (how_ == Sabotage::WritesIntoAGap) at[4] ^= 1;  // the output is every other float
    if (how_ == Sabotage::OneUlp) at[8] ^= 1;
    if (how_ == Sabotage::WrongElement) std::memcpy(at, at + 8, 4);
    if (how_ == Sabotage::HidesFaults) failures.clear();
    if (how_ == Sabotage::InventsFaults) failures.push_back({0, Error(ErrorKind::Index, "none such")});
    return failures;
  }

 private:
  std::unique_ptr<Program> real_;
  Sabotage how_;
};

class SabotagedBackend : public Backend {
 public:
  explicit SabotagedBackend(Sabotage how) : how_(how) {}
  DeviceInfo describe() const override { return real_->describe(); }
  Memory allocate(int64_t bytes) override { return real_->allocate(bytes); }
  void release(Memory m) override { real_->release(m); }
  void write(Memory m, int64_t at, const void* src, int64_t bytes) override { real_->write(m, at, src, bytes); }
  void read(Memory m, int64_t at, void* dst, int64_t bytes) override { real_->read(m, at, dst, bytes); }
  bool supports(const ir::Named& n) const override { return real_->supports(n); }
  std::unique_ptr<Program> prepare(std::span<const ir::Step> steps, std::span<const StepGroup> groups) override {
    return std::make_unique<SabotagedProgram>(real_->prepare(steps, groups), how_);
  }
  int64_t kernels_compiled() const override { return 0; }

 private:
  std::unique_ptr<Backend> real_ = reference::entry.make(0);
  Sabotage how_;
};

Case doubling(bool failing) {
  Maker m(900);
  Case c;
  c.name = "doubling";
  ir::Generic g;
  g.name = c.name;
  g.sizes = {10};
  const int x = access(g, m.input(c, DType::F32, g.sizes, Layout::Dense, Fill::Plain));
  ir::Operand out = m.output(c, DType::F32, {20}, Layout::Dense, {0.5, 0});
  out.sizes = {10};
  out.strides = {2};
  const int to = access(g, out);
  const ir::Val v = load(g, x);
  ir::check(failing ? v > 100.0 : v < 100.0, ir::Fault::BadArgument);
  store(g, to, v * 2.0);
  c.steps.push_back(g);
  return c;
}

std::string verdict(Sabotage how, bool failing = false) {
  const Case c = doubling(failing);
  SabotagedBackend backend(how);
  return difference(c, run(backend, c, c.steps), run(*reference::entry.make(0), c, c.steps));
}

TEST(Suite, IsContentWithWhatIsRight) {
  EXPECT_EQ(verdict(Sabotage::None), "");
  EXPECT_EQ(verdict(Sabotage::None, true), "");
}

TEST(Suite, NoticesEachSabotage) {
  EXPECT_NE(verdict(Sabotage::WritesBehind), "");
  EXPECT_NE(verdict(Sabotage::WritesBefore), "");
  EXPECT_NE(verdict(Sabotage::WritesIntoAGap), "");
  EXPECT_NE(verdict(Sabotage::OneUlp), "");
  EXPECT_NE(verdict(Sabotage::WrongElement), "");
  EXPECT_NE(verdict(Sabotage::HidesFaults, true), "");
  EXPECT_NE(verdict(Sabotage::InventsFaults), "");
}

}  // namespace
}  // namespace anygpu::conformance
