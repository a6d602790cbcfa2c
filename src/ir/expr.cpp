#include "ir/expr.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "anygpu/error.h"
#include "core/hash.h"
#include "core/numbers.h"

namespace anygpu::ir {
namespace {

constexpr const char* kReduceNames[] = {"sum", "prod", "max", "min", "any", "all", "argmax", "argmin"};
static_assert(std::size(kReduceNames) == static_cast<size_t>(ReduceKind::ArgMin) + 1);

uint64_t hash(const Node& n) {
  uint64_t h = hashed(static_cast<uint64_t>(n.op) << 8 | static_cast<uint64_t>(n.type), static_cast<uint32_t>(n.a));
  h = hashed(h, static_cast<uint64_t>(static_cast<uint32_t>(n.b)) << 32 | static_cast<uint32_t>(n.c));
  return hashed(h, static_cast<uint64_t>(n.imm.i));
}

bool equal(const Node& x, const Node& y) {
  return x.op == y.op && x.type == y.type && x.a == y.a && x.b == y.b && x.c == y.c && x.imm.i == y.imm.i;
}

int64_t wrap(DType t, int64_t v) {
  switch (t) {
    case DType::Bool:
      return v != 0;
    case DType::U8:
      return static_cast<uint8_t>(v);
    case DType::I8:
      return static_cast<int8_t>(v);
    case DType::I16:
      return static_cast<int16_t>(v);
    case DType::I32:
      return static_cast<int32_t>(v);
    default:
      return v;
  }
}

int64_t truncate(double v) {
  if (std::isnan(v)) return 0;
  if (v >= 0x1p63) return std::numeric_limits<int64_t>::max();
  if (v < -0x1p63) return std::numeric_limits<int64_t>::min();
  return static_cast<int64_t>(v);
}

Node const_node(DType t, double v) {
  Node n{ExprOp::Const, t};
  if (is_float(t)) {
    n.imm.f = t == DType::F32 ? static_cast<double>(static_cast<float>(v)) : v;
  } else {
    n.imm.i = t == DType::Bool ? v != 0 : wrap(t, truncate(v));
  }
  return n;
}

Node const_node(DType t, int64_t v) {
  Node n{ExprOp::Const, t};
  if (is_float(t)) {
    // i64 to f32 rounds once, not by way of f64.
    n.imm.f = t == DType::F32 ? static_cast<double>(static_cast<float>(v)) : static_cast<double>(v);
  } else {
    n.imm.i = wrap(t, v);
  }
  return n;
}

/// A node of that value whose op is Size, or Const where that is a simpler one.
Node size_node(Node value) {
  if (is_float(value.type) || value.imm.i < -1 || value.imm.i > 1) value.op = ExprOp::Size;
  return value;
}

bool is_number(const Node& n) {
  return n.op == ExprOp::Const || n.op == ExprOp::Size;
}

/// Whether every value of `from` is a value of `to`, so that a cast there and back is the identity.
bool widens(DType from, DType to) {
  if (from == to || from == DType::Bool) return true;
  if (is_float(from)) return is_half(from) ? to == DType::F32 || to == DType::F64 : from == DType::F32 && to == DType::F64;
  if (is_int(to)) return size_of(to) >= size_of(from);  // wraps back, whatever the signs
  return false;
}

/// The node that already has n's value, or a simpler node. Only what is exact for every input, NaN included.
std::optional<int> fold_to_operand(const Body& body, const Node& n) {
  auto is_int_const = [&](int id, int64_t v) {
    const Node& c = body[id];
    return c.op == ExprOp::Const && is_int(c.type) && c.imm.i == v;
  };
  switch (n.op) {
    case ExprOp::Cast: {
      const Node& a = body[n.a];
      if (a.type == n.type) return n.a;
      if (a.op == ExprOp::Cast && body[a.a].type == n.type && widens(n.type, a.type)) return a.a;
      return {};
    }
    case ExprOp::Bitcast:
      if (body[n.a].type == n.type) return n.a;
      return {};
    case ExprOp::Add:
      if (is_int_const(n.a, 0)) return n.b;
      if (is_int_const(n.b, 0)) return n.a;
      return {};
    case ExprOp::Sub:
    case ExprOp::Shl:
    case ExprOp::Shr:
      if (is_int_const(n.b, 0)) return n.a;
      return {};
    case ExprOp::Mul:
      if (is_int_const(n.a, 1)) return n.b;
      if (is_int_const(n.b, 1)) return n.a;
      if (is_int_const(n.a, 0)) return n.a;
      if (is_int_const(n.b, 0)) return n.b;
      return {};
    case ExprOp::Div:
      if (is_int_const(n.b, 1)) return n.a;
      return {};
    case ExprOp::Select:
      if (n.b == n.c) return n.b;
      if (body[n.a].op == ExprOp::Const) return body[n.a].imm.i ? n.b : n.c;
      return {};
    case ExprOp::And:
    case ExprOp::Or:
      if (n.a == n.b) return n.a;
      if (body[n.a].type == DType::Bool) {
        const bool keeps = n.op == ExprOp::And;  // the constant that leaves the other operand as it is
        if (body[n.a].op == ExprOp::Const) return (body[n.a].imm.i != 0) == keeps ? n.b : n.a;
        if (body[n.b].op == ExprOp::Const) return (body[n.b].imm.i != 0) == keeps ? n.a : n.b;
      }
      return {};
    default:
      return {};
  }
}

Node simplify(const Body& body, const Node& n) {
  // What is made of a Size is one.
  auto made_of = [&](std::initializer_list<int> operands, Node value) {
    return std::any_of(operands.begin(), operands.end(), [&](int id) { return body[id].op == ExprOp::Size; }) ? size_node(value) : value;
  };
  auto converted = [&](const Node& from) { return is_float(from.type) ? const_node(n.type, from.imm.f) : const_node(n.type, from.imm.i); };
  if (n.op == ExprOp::Const) return converted(n);
  if (n.op == ExprOp::Size) return size_node(converted(n));
  if (n.op == ExprOp::Cast && is_number(body[n.a]) && !is_half(n.type) && !is_complex(n.type) && !is_half(body[n.a].type))
    return made_of({n.a}, converted(body[n.a]));
  if (arity(n.op) == 2 && is_number(body[n.a]) && is_number(body[n.b]) && is_int(n.type) && body[n.a].type == n.type) {
    const uint64_t x = body[n.a].imm.i, y = body[n.b].imm.i;
    if (n.op == ExprOp::Add) return made_of({n.a, n.b}, const_node(n.type, static_cast<int64_t>(x + y)));
    if (n.op == ExprOp::Sub) return made_of({n.a, n.b}, const_node(n.type, static_cast<int64_t>(x - y)));
    if (n.op == ExprOp::Mul) return made_of({n.a, n.b}, const_node(n.type, static_cast<int64_t>(x * y)));
  }
  return n;
}

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorKind::Internal, "[expr] " + what);
}

/// f16 and bf16 have no arithmetic: whoever meets one here has forgotten a cast to the compute type.
void require_arithmetic(ExprOp op, DType t) {
  if (is_half(t) || is_complex(t)) refuse(std::string(name_of(op)) + " on " + anygpu::name_of(t) + ": cast to its compute type first");
}

Val make(Body& body, const Node& n) {
  return {&body, body.add(n)};
}

}  // namespace

const char* fault_message(Fault fault) {
  switch (fault) {
    case Fault::None:
      return "no fault";
    case Fault::IndexOutOfRange:
      return "index out of range";
    case Fault::BadProbability:
      return "probability must be between 0 and 1, and neither inf nor nan";
    case Fault::DivisionByZero:
      return "division by zero";
    case Fault::TargetOutOfRange:
      return "target out of range";
    case Fault::BadArgument:
      return "an element of an argument is outside of what the operator takes";
    case Fault::OutOfBounds:
      return "an index is out of bounds for its dimension";
  }
  return "unknown fault";
}

namespace {

/// With the numbers, in PyTorch's words.
std::string fault_text(const FaultReport& r, int64_t bound) {
  const std::string value = std::to_string(r.value), size = std::to_string(bound);
  const std::string index = r.dim() >= 0
                                ? "index " + value + " is out of bounds for dimension " + std::to_string(r.dim()) + " with size " + size
                                : "tried to access index " + value + " on a tensor of " + size + " elements";
  switch (r.fault()) {
    case Fault::IndexOutOfRange:
      return std::string(fault_message(r.fault())) + ": " + index;
    case Fault::OutOfBounds:
      return index;
    case Fault::TargetOutOfRange:
      return std::string(fault_message(r.fault())) + ": Target " + value + " is out of bounds for " + size + " classes";
    default:
      return fault_message(r.fault());
  }
}

}  // namespace

Error fault_error(const FaultReport& r, const std::string& name, int64_t bound) {
  const bool index = r.fault() == Fault::IndexOutOfRange || r.fault() == Fault::TargetOutOfRange;
  // Threads that fail at once may leave the code of one and the value of another: a value that breaks no bound is not told.
  const bool known = r.value != FaultReport::kUnknown && bound >= 0 && (r.value < 0 || r.value >= bound);
  return Error(index ? ErrorKind::Index : ErrorKind::Value, "[" + name + "] " + (known ? fault_text(r, bound) : fault_message(r.fault())));
}

std::vector<int> loops_of(const std::vector<Node>& nodes) {
  std::vector<int> loop(nodes.size(), -1);
  for (const Node& n : nodes) {
    if (n.op != ExprOp::Repeat) continue;
    for (int next = n.a; next >= 0; next = nodes[next].c) loop[nodes[next].a] = n.a;
  }
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i].op == ExprOp::Carry || nodes[i].op == ExprOp::Repeat) continue;
    for_each_operand(nodes[i], [&](int id) { loop[i] = loop[id] >= 0 ? loop[id] : loop[i]; });
  }
  return loop;
}

const char* name_of(ReduceKind kind) {
  const auto i = static_cast<size_t>(kind);
  return i < std::size(kReduceNames) ? kReduceNames[i] : "unknown";
}

int Body::add(Node n) {
  if (!has_operands(n)) refuse(std::string(name_of(n.op)) + " lacks an operand, or has one too many");
  for_each_operand(n, [&](int id) {
    if (id < 0 || id >= size())
      refuse(std::string(name_of(n.op)) + " refers to node " + std::to_string(id) + " of " + std::to_string(size()));
  });
  if (const auto same = fold_to_operand(*this, n)) return *same;
  n = simplify(*this, n);
  if (n.op == ExprOp::Check || n.op == ExprOp::Carry) {  // two Checks are two reports, two Carries may come to hold other values
    nodes_.push_back(n);
    return size() - 1;
  }
  if (table_.size() < 2 * (nodes_.size() + 1)) {
    std::vector<std::pair<uint64_t, int32_t>> bigger(std::max<size_t>(32, 4 * std::bit_ceil(nodes_.size() + 1)), {0, -1});
    for (const auto& entry : table_) {
      if (entry.second < 0) continue;
      size_t at = entry.first & (bigger.size() - 1);
      while (bigger[at].second >= 0) at = (at + 1) & (bigger.size() - 1);
      bigger[at] = entry;
    }
    table_ = std::move(bigger);
  }
  const uint64_t h = hash(n);
  size_t at = h & (table_.size() - 1);
  while (table_[at].second >= 0) {
    if (table_[at].first == h && equal(nodes_[table_[at].second], n)) return table_[at].second;
    at = (at + 1) & (table_.size() - 1);
  }
  nodes_.push_back(n);
  table_[at] = {h, size() - 1};
  return size() - 1;
}

Val constant(Body& body, DType t, double v) {
  if (is_half(t)) return cast(constant(body, DType::F32, v), t);
  return make(body, const_node(t, v));
}

Val constant(Body& body, DType t, int64_t v) {
  if (is_half(t)) return cast(constant(body, DType::F32, v), t);
  return make(body, const_node(t, v));
}

Val like(Val v, double x) {
  return constant(*v.body, v.type(), x);
}

Val size(Body& body, DType t, double v) {
  if (is_half(t)) return cast(size(body, DType::F32, v), t);
  return make(body, size_node(const_node(t, v)));
}

Val size(Body& body, DType t, int64_t v) {
  if (is_half(t)) return cast(size(body, DType::F32, v), t);
  return make(body, size_node(const_node(t, v)));
}

Val size_like(Val v, double x) {
  return size(*v.body, v.type(), x);
}

Val size_like(Val v, int64_t x) {
  return size(*v.body, v.type(), x);
}

Val unary(ExprOp op, Val a) {
  require_arithmetic(op, a.type());
  return make(*a.body, {op, a.type(), a.id});
}

Val binary(ExprOp op, Val a, Val b) {
  require_arithmetic(op, a.type());
  if (a.body != b.body) refuse(std::string(name_of(op)) + " of values of two bodies");
  if (a.type() != b.type()) refuse(std::string(name_of(op)) + " of " + anygpu::name_of(a.type()) + " and " + anygpu::name_of(b.type()));
  return make(*a.body, {op, info(op).types == TypeRule::Comparison ? DType::Bool : a.type(), a.id, b.id});
}

Val select(Val cond, Val yes, Val no) {
  if (cond.type() != DType::Bool) refuse(std::string("select by ") + anygpu::name_of(cond.type()));
  if (yes.type() != no.type()) refuse(std::string("select of ") + anygpu::name_of(yes.type()) + " and " + anygpu::name_of(no.type()));
  return make(*cond.body, {ExprOp::Select, yes.type(), cond.id, yes.id, no.id});
}

Val cast(Val v, DType t) {
  return v.type() == t ? v : make(*v.body, {ExprOp::Cast, t, v.id});
}

Val bitcast(Val v, DType t) {
  if (size_of(v.type()) != size_of(t)) refuse(std::string("bitcast of ") + anygpu::name_of(v.type()) + " to " + anygpu::name_of(t));
  return make(*v.body, {ExprOp::Bitcast, t, v.id});
}

Val index(Body& body, int dim) {
  Node n{ExprOp::Index, DType::I64};
  n.imm.i = dim;
  return make(body, n);
}

Val arg(Body& body, DType t, int position) {
  if (is_half(t)) return cast(arg(body, DType::F32, position), t);
  Node n{ExprOp::Arg, t};
  n.imm.i = position;
  return make(body, n);
}

Val load(Body& body, DType t, int access) {
  return make(body, {ExprOp::Load, t, access});
}

Val load(Body& body, DType t, int access, Val extra_offset) {
  if (extra_offset.type() != DType::I64) refuse(std::string("load with an offset of ") + anygpu::name_of(extra_offset.type()));
  return make(body, {ExprOp::Load, t, access, extra_offset.id});
}

Val reduce(ReduceKind kind, Val v) {
  if (kind == ReduceKind::ArgMax || kind == ReduceKind::ArgMin) refuse("reduce by argmax or argmin needs an index: reduce_arg");
  require_arithmetic(ExprOp::Reduce, v.type());
  Node n{ExprOp::Reduce, v.type(), v.id};
  n.imm.i = static_cast<int64_t>(kind);
  return make(*v.body, n);
}

Val reduce_arg(ReduceKind kind, Val v, Val index) {
  if (kind != ReduceKind::ArgMax && kind != ReduceKind::ArgMin) refuse(std::string("reduce_arg by ") + name_of(kind));
  require_arithmetic(ExprOp::Reduce, v.type());
  Node n{ExprOp::Reduce, DType::I64, v.id, index.id};
  n.imm.i = static_cast<int64_t>(kind);
  return make(*v.body, n);
}

Val philox(Val counter, Val key, Val stream, int word) {
  Node n{ExprOp::Philox, DType::I64, counter.id, key.id, stream.id};
  n.imm.i = word;
  return make(*counter.body, n);
}

std::vector<Val> repeat(int64_t most, const std::vector<Val>& first, const std::function<Iteration(const std::vector<Val>&)>& body) {
  if (first.empty() || most < 1) refuse("repeat of nothing");
  std::vector<Val> now;
  for (const Val& v : first) {
    require_arithmetic(ExprOp::Carry, v.type());
    now.push_back(make(*v.body, {ExprOp::Carry, v.type(), v.id}));
  }
  const Iteration it = body(now);
  if (it.next.size() != now.size() || it.counts.type() != DType::Bool)
    refuse("repeat: an iteration gives a bool and a value for each carried");
  int last = -1;
  for (size_t i = 0; i < now.size(); ++i) {
    if (it.next[i].type() != now[i].type()) refuse("repeat: a carried value changes its type");
    last = now[i].body->add({ExprOp::Next, now[i].type(), now[i].id, it.next[i].id, last});
  }
  std::vector<Val> results;
  for (const Val& v : now) {
    Node n{ExprOp::Repeat, v.type(), last, it.counts.id, v.id};
    n.imm.i = most;
    results.push_back(make(*v.body, n));
  }
  return results;
}

Val check(Val cond, Fault fault, Val value, Val bound, int dim) {
  Node n{ExprOp::Check, DType::Bool, cond.id, value.id, bound.id};
  n.imm.i = fault_code(fault, dim);
  return make(*cond.body, n);
}

}  // namespace anygpu::ir
