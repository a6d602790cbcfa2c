// Whether an operator is defined on a call's dtypes, found out when the call is recorded: the call is described once, as it would be when
// planned, and thrown away. So no entry of the catalogue needs a list of its dtypes, and none can have a wrong one.
#include <array>
#include <atomic>

#include "core/hash.h"
#include "ops/call.h"

namespace anygpu::ops {

void check_layout(const CallArgs& call, const calls::Layout& want) {
  auto refuse = [&](const char* what, size_t got, int wanted) {
    throw Error(ErrorKind::Value,
                "[" + std::string(call.op.name) + "] a call of " + std::to_string(got) + " " + what + ", not " + std::to_string(wanted));
  };
  const auto operands = static_cast<size_t>(want.operands), attrs = static_cast<size_t>(want.attrs);
  if (want.list ? call.views.size() < operands : call.views.size() != operands) refuse("operands", call.views.size(), want.operands);
  if (want.dims ? call.attrs.size() > attrs : call.attrs.size() != attrs) refuse("attrs", call.attrs.size(), want.attrs);
  const auto scalars = static_cast<size_t>(want.scalars);
  if (want.dims ? call.scalars.size() > scalars : call.scalars.size() != scalars) refuse("scalars", call.scalars.size(), want.scalars);
  for (size_t i = 0; i < call.views.size(); ++i)
    if (!call.views[i] && (i >= operands || !(want.optional >> i & 1)))
      throw Error(ErrorKind::Value, "[" + std::string(call.op.name) + "] operand " + std::to_string(i) + " is absent");
}

namespace {

bool empty(const ViewArg& v) {
  for (int d = 0; d < v.rank; ++d)
    if (v.sizes[d] == 0) return true;
  return false;
}

constexpr uint64_t kFails = 2;  ///< of a signature that is known: the call holds a Check

/// All that types in the description can depend on: operator, dtypes, ranks, what is empty, attrs. Never 0; kFails is free.
uint64_t signature_of(const CallArgs& call) {
  uint64_t h = hashed(reinterpret_cast<uintptr_t>(&call.op), call.views.size() << 32 | call.scalars.size());
  for (const ViewArg& v : call.views)
    h = hashed(h, uint64_t{v.buffer != nullptr} << 17 | uint64_t{empty(v)} << 16 | static_cast<uint64_t>(v.dtype) << 8 |
                      static_cast<uint64_t>(v.rank));
  for (int64_t a : call.attrs) h = hashed(h, static_cast<uint64_t>(a));
  return (h | 1) & ~kFails;
}

/// Signatures known to be right; a place is overwritten by the next that wants it.
constexpr size_t kKnown = 4096;
std::array<std::atomic<uint64_t>, kKnown> known;

/// Takes a description and verifies it, and keeps of it what it computes in.
class Verify : public Lowering::Sink {
 public:
  int32_t new_slot(int64_t) override { return slots_++; }
  void add(ir::Step step) override {
    if (const auto* g = std::get_if<ir::Generic>(&step)) {
      ir::verify(*g);
      // Of i64, indices may be computed in 32 bits, but what is stored is stored.
      for (const ir::Node& n : g->body.nodes()) {
        types_ |= n.type == DType::I64 ? 0 : bit(n.type);
        fails_ |= n.op == ir::ExprOp::Check;
      }
      for (const ir::Store& s : g->stores) types_ |= bit(g->accesses[static_cast<size_t>(s.access)].dtype);
    } else if (const auto* n = std::get_if<ir::Named>(&step)) {
      ir::verify(*n);
      for (const ir::Operand& o : n->operands) types_ |= o.slot < 0 ? 0 : bit(o.dtype);
    }
  }
  explicit Verify(int slots) : slots_(slots) {}
  uint32_t types() const { return types_; }
  bool fails() const { return fails_; }

 private:
  static uint32_t bit(DType t) { return 1u << static_cast<int>(t); }
  int32_t slots_;
  uint32_t types_ = 0;
  bool fails_ = false;
};

Verify describe(const CallArgs& call) {
  std::vector<ir::Operand> operands;
  operands.reserve(call.views.size());
  for (const ViewArg& v : call.views) {
    ir::Operand o;
    o.slot = v.buffer ? static_cast<int32_t>(operands.size()) : -1;
    o.dtype = v.dtype;
    o.offset = v.offset;
    o.sizes = Dims(v.sizes, v.rank);
    o.strides = Dims(v.strides, v.rank);
    operands.push_back(o);
  }
  Verify sink(static_cast<int>(operands.size()));
  Lowering lowering(call.op, operands, call.attrs, 0, static_cast<int>(call.scalars.size()), false, sink);
  call.op.lower(lowering);
  return sink;
}

}  // namespace

bool check_call(const CallArgs& call, uint32_t lacking) {
  if (call.op.check) call.op.check(call);
  const uint64_t signature = lacking ? (hashed(signature_of(call), lacking) | 1) & ~kFails : signature_of(call);
  std::atomic<uint64_t>& place = known[signature / 4 % kKnown];
  const uint64_t there = place.load(std::memory_order_relaxed);
  if ((there & ~kFails) == signature) [[likely]]
    return there & kFails;
  uint32_t types = 0;
  bool fails = false;
  try {
    const Verify described = describe(call);
    types = described.types();
    fails = described.fails();
  } catch (const Error& e) {
    const std::string why = e.what();
    throw Error(ErrorKind::NotImplemented, "[" + std::string(call.op.name) + "] cannot be done: " + why.substr(0, why.find('\n')));
  }
  for (int t = 0; t < kDTypes; ++t)
    if (types & lacking & 1u << t)  // no TypeError in Python, where `x + x` would forget its words
      throw Error(ErrorKind::Value, "[" + std::string(call.op.name) + "] this device cannot compute in " + name_of(static_cast<DType>(t)) +
                                        ": convert the tensors to another dtype first");
  place.store(signature | (fails ? kFails : 0), std::memory_order_relaxed);
  return fails;
}

}  // namespace anygpu::ops
