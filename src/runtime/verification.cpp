// ANYGPU_VERIFY=1: every Plan also runs unfused on the reference backend, over copies, and the two must agree.
#include <cmath>
#include <cstring>

#include "backends/table/table.h"
#include "runtime/flight.h"

namespace anygpu {

struct Verification::State {
  Plan& plan;
  Backend& backend;
  std::vector<std::vector<std::byte>> copies;
};

namespace {

Backend& oracle() {
  static Backend* b = find_backend("reference")->make(0).release();
  return *b;
}

template <class T>
double as_double(const std::byte* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return static_cast<double>(v);
}

double value_of(DType t, const std::byte* p) {
  switch (t) {
    case DType::Bool:
    case DType::U8:
      return as_double<uint8_t>(p);
    case DType::I8:
      return as_double<int8_t>(p);
    case DType::I16:
      return as_double<int16_t>(p);
    case DType::I32:
      return as_double<int32_t>(p);
    case DType::I64:
      return as_double<int64_t>(p);
    case DType::F32:
      return as_double<float>(p);
    case DType::F64:
      return as_double<double>(p);
    case DType::BF16: {
      uint16_t h;
      std::memcpy(&h, p, 2);
      uint32_t bits = static_cast<uint32_t>(h) << 16;
      float f;
      std::memcpy(&f, &bits, 4);
      return f;
    }
    case DType::F16: {
      uint16_t h;
      std::memcpy(&h, p, 2);
      int e = h >> 10 & 31, m = h & 1023;
      double v = e == 31 ? (m ? NAN : INFINITY) : e ? std::ldexp(1024 + m, e - 25) : std::ldexp(m, -24);
      return h >> 15 ? -v : v;
    }
    default:
      return 0;
  }
}

/// Relative error allowed: fused and unfused sum in different orders.
double tolerance(DType t) {
  switch (t) {
    case DType::F16:
      return 2e-3;
    case DType::BF16:
      return 2e-2;
    case DType::F32:
      return 1e-4;
    case DType::F64:
      return 1e-9;
    default:
      return 0;
  }
}

}  // namespace

Verification::Verification(Plan& plan, const std::vector<Memory>& slots, Backend& backend, std::span<const Scalar> scalars)
    : state_(new State{plan, backend, {}}) {
  std::vector<Memory> mirror(slots.size());
  state_->copies.resize(slots.size());
  for (size_t i = 0; i < slots.size(); ++i) {
    auto& copy = state_->copies[i];
    copy.resize(static_cast<size_t>(plan.slots[i].bytes) + 64);
    if (slots[i].handle && plan.slots[i].arena_offset < 0 && plan.slots[i].bytes)
      backend.read(slots[i], 0, copy.data(), plan.slots[i].bytes);
    mirror[i] = {copy.data(), 0, plan.slots[i].bytes};
  }
  if (!plan.oracle) plan.oracle = oracle().prepare(plan.unfused);
  plan.oracle->run({mirror, scalars}, nullptr);
}

Verification::~Verification() = default;

void Verification::compare(const std::vector<Memory>& slots) {
  Plan& plan = state_->plan;
  // A slot's element type is that of its last write; slots written under several types are left out.
  std::vector<int> dtype(slots.size(), -1);
  auto see = [&](int32_t slot, DType t) {
    dtype[static_cast<size_t>(slot)] =
        dtype[static_cast<size_t>(slot)] == -1 || dtype[static_cast<size_t>(slot)] == static_cast<int>(t) ? static_cast<int>(t) : -2;
  };
  for (const ir::Step& s : plan.unfused) {
    if (auto* g = std::get_if<ir::Generic>(&s)) {
      for (const ir::Store& st : g->stores)
        see(g->accesses[static_cast<size_t>(st.access)].slot, g->accesses[static_cast<size_t>(st.access)].dtype);
    } else {
      const auto& n = std::get<ir::Named>(s);
      for (const ir::Touch& t : ir::touches(s))
        if (t.write)
          for (const ir::Operand& o : n.operands)
            if (o.slot == t.slot) see(t.slot, o.dtype);
    }
  }
  for (size_t i = 0; i < slots.size(); ++i) {
    if (!plan.slots[i].live_after || dtype[i] < 0 || !slots[i].handle) continue;
    auto t = static_cast<DType>(dtype[i]);
    if (is_complex(t)) continue;
    int64_t bytes = plan.slots[i].bytes, size = size_of(t);
    std::vector<std::byte> got(static_cast<size_t>(bytes));
    if (bytes) state_->backend.read(slots[i], 0, got.data(), bytes);
    double scale = 0;  // sums cancel: errors are measured against the largest magnitude in the slot, and a tenth
    for (int64_t at = 0; at + size <= bytes; at += size) {
      double w = std::abs(value_of(t, state_->copies[i].data() + at));
      if (std::isfinite(w)) scale = std::max(scale, w);
    }
    for (int64_t at = 0; at + size <= bytes; at += size) {
      double want = value_of(t, state_->copies[i].data() + at), have = value_of(t, got.data() + at);
      bool same =
          want == have || (std::isnan(want) && std::isnan(have)) || std::abs(want - have) <= tolerance(t) * (std::abs(want) + scale + 0.1);
      if (same) continue;
      std::string steps;
      for (const ir::Step& s : plan.steps) steps += ir::to_string(s) + "\n";
      throw Error(ErrorKind::Internal, "[verify] slot " + std::to_string(i) + ", element " + std::to_string(at / size) + " (" + name_of(t) +
                                           "): fused gives " + std::to_string(have) + ", unfused " + std::to_string(want) + "\nPlan:\n" +
                                           steps);
    }
  }
}

}  // namespace anygpu
