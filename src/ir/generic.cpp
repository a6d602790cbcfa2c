#include "ir/generic.h"

#include <cmath>
#include <cstdio>

#include "core/numbers.h"

namespace anygpu::ir {
namespace {

bool is_compute_float(DType t) {
  return t == DType::F32 || t == DType::F64;
}

/// Collects what is wrong with one Generic, and says it with the whole Generic printed.
class Verifier {
 public:
  explicit Verifier(const Generic& g) : g_(g) {}

  void run() {
    space();
    for (size_t i = 0; i < g_.accesses.size(); ++i) access(static_cast<int>(i));
    for (int i = 0; i < g_.body.size(); ++i) node(i);
    loops();
    if (g_.stores.empty() && !has_check_) fail("it stores nothing");
    for (size_t i = 0; i < g_.stores.size(); ++i) store(static_cast<int>(i));
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::Internal, "[ir] ill-formed Generic: " + what + "\n" + to_string(g_));
  }
  /// `what` makes the message: made for every node of a plan, messages took longer than all that is verified.
  template <class What>
  void require(bool ok, const What& what) const {
    if (!ok) fail(what());
  }

  void space() const {
    for (int d = 0; d < g_.rank(); ++d)
      require(g_.sizes[d] >= 0, [&] { return "dimension " + std::to_string(d) + " has a negative size"; });
    require(g_.reduce >> g_.rank() == 0, [&] { return std::string("the reduction mask names dimensions beyond the rank"); });
  }

  void access(int i) const {
    const Access& a = g_.accesses[i];
    const auto name = [i] { return "@" + std::to_string(i); };
    require(a.slot >= 0, [&] { return name() + " has no slot"; });
    require(a.strides.size() == g_.rank(), [&] {
      return name() + " has " + std::to_string(a.strides.size()) + " strides in a space of rank " + std::to_string(g_.rank());
    });
    require(!is_complex(a.dtype), [&] { return name() + " is complex: a body sees pairs of floats"; });
  }

  void node(int i) {
    const Node& n = g_.body[i];
    const auto name = [i] { return "%" + std::to_string(i); };
    require(has_operands(n), [&] { return name() + " lacks an operand, or has one too many"; });
    for_each_operand(
        n, [&](int id) { require(id < i, [&] { return name() + " refers to %" + std::to_string(id) + ", which is not before it"; }); });
    require(!is_complex(n.type), [&] { return name() + " is complex"; });
    const DType t = n.type;
    auto operands_are = [&](DType want) {
      for_each_operand(n, [&](int id) {
        require(g_.body[id].type == want, [&] { return name() + ": operand %" + std::to_string(id) + " is not " + anygpu::name_of(want); });
      });
    };
    auto type_is = [&](bool ok) {
      require(ok, [&] { return name() + ": " + name_of(n.op) + " is not defined on " + anygpu::name_of(t); });
    };
    switch (n.op) {
      case ExprOp::Load:
        require(n.a >= 0 && n.a < static_cast<int>(g_.accesses.size()),
                [&] { return name() + " loads through an access that is not there"; });
        require(g_.accesses[n.a].dtype == t, [&] { return name() + " is not of its access's dtype"; });
        if (n.b >= 0) operands_are(DType::I64);
        return;
      case ExprOp::Arg:
        require(n.imm.i >= 0 && n.imm.i < static_cast<int64_t>(g_.args.size()),
                [&] { return name() + " is argument " + std::to_string(n.imm.i) + " of " + std::to_string(g_.args.size()); });
        return type_is(!is_half(t));
      case ExprOp::Const:
        return type_is(!is_half(t));
      case ExprOp::Size:
        return type_is(is_compute_float(t) || is_int(t));
      case ExprOp::Index:
        require(n.imm.i >= 0 && n.imm.i < g_.rank(), [&] { return name() + " is the index of dimension " + std::to_string(n.imm.i); });
        return type_is(t == DType::I64);
      case ExprOp::Select:
        require(g_.body[n.a].type == DType::Bool, [&] { return name() + " selects by what is not bool"; });
        require(g_.body[n.b].type == t && g_.body[n.c].type == t, [&] { return name() + " selects between other types than its own"; });
        return;
      case ExprOp::Cast:
        return;
      case ExprOp::Bitcast:
        require(size_of(g_.body[n.a].type) == size_of(t), [&] { return name() + " changes the width"; });
        return type_is(t != DType::Bool || g_.body[n.a].type == DType::Bool);
      case ExprOp::Philox:
        operands_are(DType::I64);
        require(n.imm.i >= 0 && n.imm.i < 4, [&] { return name() + " asks for word " + std::to_string(n.imm.i); });
        return type_is(t == DType::I64);
      case ExprOp::Reduce:
        return reduce(n, i);
      case ExprOp::Carry:
        has_loop_ = true;
        operands_are(t);
        return type_is(is_compute_float(t) || is_int(t) || t == DType::Bool);
      case ExprOp::Next:
        require(g_.body[n.a].op == ExprOp::Carry && (n.c < 0 || g_.body[n.c].op == ExprOp::Next),
                [&] { return name() + " is not the next value of a Carry"; });
        require(g_.body[n.a].type == t && g_.body[n.b].type == t, [&] { return name() + " changes the type of what is carried"; });
        return;
      case ExprOp::Repeat:
        require(g_.body[n.a].op == ExprOp::Next && g_.body[n.b].type == DType::Bool && g_.body[n.c].op == ExprOp::Carry && n.imm.i > 0,
                [&] { return name() + " is no loop"; });
        return type_is(t == g_.body[n.c].type);
      case ExprOp::Check:
        has_check_ = true;
        require(g_.body[n.a].type == DType::Bool, [&] { return name() + " checks what is not bool"; });
        require(n.b < 0 ? n.c < 0 : n.c >= 0 && g_.body[n.b].type == DType::I64 && g_.body[n.c].type == DType::I64,
                [&] { return name() + " tells no integer and its bound"; });
        require(FaultReport{n.imm.i}.fault() > Fault::None && FaultReport{n.imm.i}.fault() <= Fault::OutOfBounds,
                [&] { return name() + " reports fault " + std::to_string(n.imm.i); });
        return type_is(t == DType::Bool);
      default:
        return one_type(n, i);
    }
  }

  /// The operators whose types the table tells.
  void one_type(const Node& n, int i) const {
    const auto name = [i] { return "%" + std::to_string(i); };
    const TypeRule rule = info(n.op).types;
    const DType t = rule == TypeRule::Comparison ? g_.body[n.a].type : n.type;
    for_each_operand(n, [&](int id) {
      require(g_.body[id].type == t, [&] { return name() + ": operand %" + std::to_string(id) + " is not " + anygpu::name_of(t); });
    });
    if (rule == TypeRule::Comparison) require(!is_half(t), [&] { return name() + " compares " + anygpu::name_of(t); });
    bool ok = false;
    switch (rule) {
      case TypeRule::Number:
        ok = is_compute_float(t) || is_int(t);
        break;
      case TypeRule::Float:
        ok = is_compute_float(t);
        break;
      case TypeRule::Integer:
        ok = is_int(t);
        break;
      case TypeRule::Bits:
        ok = is_int(t) || t == DType::Bool;
        break;
      case TypeRule::Comparison:
        ok = n.type == DType::Bool;
        break;
      case TypeRule::Own:
        break;
    }
    require(ok, [&] { return name() + ": " + name_of(n.op) + " is not defined on " + anygpu::name_of(t); });
  }

  /// They do not nest, hold no Reduce and no Check, and leave nothing but the results of Repeats.
  void loops() const {
    if (!has_loop_) return;
    const std::vector<int> loop = loops_of(g_.body.nodes());
    for (int i = 0; i < g_.body.size(); ++i) {
      const Node& n = g_.body[i];
      const auto name = [i] { return "%" + std::to_string(i); };
      if (n.op == ExprOp::Repeat) {
        require(loop[n.c] == n.a, [&] { return name() + " is the result of another loop's Carry"; });
        require(loop[n.b] < 0 || loop[n.b] == n.a, [&] { return name() + " ends by what another loop computes"; });
        continue;
      }
      for_each_operand(n, [&](int id) {
        const bool nests = n.op == ExprOp::Carry ? loop[id] >= 0 : loop[id] >= 0 && loop[id] != loop[i];
        require(!nests, [&] { return name() + ": loops do not nest"; });
      });
      require(loop[i] < 0 || (n.op != ExprOp::Reduce && n.op != ExprOp::Check), [&] { return name() + " stands in a loop"; });
    }
    for (const Store& s : g_.stores)
      for (int id : {s.value, s.index, s.guard})
        require(id < 0 || id >= g_.body.size() || loop[id] < 0, [&] { return "%" + std::to_string(id) + " is stored from within a loop"; });
  }

  void reduce(const Node& n, int i) const {
    const auto name = [i] { return "%" + std::to_string(i); };
    require(n.imm.i >= 0 && n.imm.i <= static_cast<int64_t>(ReduceKind::ArgMin), [&] { return name() + " is no known reduction"; });
    const auto kind = static_cast<ReduceKind>(n.imm.i);
    const DType from = g_.body[n.a].type;
    const bool is_arg = kind == ReduceKind::ArgMax || kind == ReduceKind::ArgMin;
    const bool is_bool = kind == ReduceKind::Any || kind == ReduceKind::All;
    require(is_bool ? from == DType::Bool : is_compute_float(from) || is_int(from),
            [&] { return name() + " reduces " + anygpu::name_of(from) + " by " + name_of(kind); });
    require(n.type == (is_arg ? DType::I64 : from), [&] { return name() + " is of type " + anygpu::name_of(n.type); });
    require((n.b >= 0) == is_arg, [&] { return name() + (is_arg ? " has no index" : " has an index that it does not use"); });
    if (is_arg) require(g_.body[n.b].type == DType::I64, [&] { return name() + "'s index is not i64"; });
  }

  void store(int i) const {
    const Store& s = g_.stores[i];
    const auto name = [i] { return "store " + std::to_string(i); };
    auto in_body = [&](int id) { return id >= 0 && id < g_.body.size(); };
    require(s.access >= 0 && s.access < static_cast<int>(g_.accesses.size()),
            [&] { return name() + " goes through an access that is not there"; });
    require(in_body(s.value), [&] { return name() + "'s value is not in the body"; });
    const Access& a = g_.accesses[s.access];
    require(g_.body[s.value].type == a.dtype, [&] { return name() + "'s value is not of its access's dtype"; });
    require(s.combine <= Combine::Min, [&] { return name() + " combines in no known way"; });
    if (s.index != -1)
      require(in_body(s.index) && g_.body[s.index].type == DType::I64, [&] { return name() + "'s index is not an i64 node"; });
    if (s.guard != -1)
      require(in_body(s.guard) && g_.body[s.guard].type == DType::Bool, [&] { return name() + "'s guard is not a bool node"; });
  }

  const Generic& g_;
  bool has_check_ = false, has_loop_ = false;
};

std::string list_of(const Dims& d) {
  std::string s = "[";
  for (int i = 0; i < d.size(); ++i) s += (i ? ", " : "") + std::to_string(d[i]);
  return s + "]";
}

std::string number(const Node& n) {
  if (!is_float(n.type)) return std::to_string(n.imm.i);
  char text[40];
  std::snprintf(text, sizeof text, n.type == DType::F32 ? "%.9g" : "%.17g", n.imm.f);
  return text;
}

std::string text_of(const Node& n) {
  auto id = [](int i) { return "%" + std::to_string(i); };
  std::string s = name_of(n.op);
  if (n.op == ExprOp::Reduce) s += std::string(".") + name_of(static_cast<ReduceKind>(n.imm.i));
  s += std::string(" ") + anygpu::name_of(n.type);
  switch (n.op) {
    case ExprOp::Load:
      return s + " @" + std::to_string(n.a) + (n.b >= 0 ? " + " + id(n.b) : "");
    case ExprOp::Arg:
      return s + " #" + std::to_string(n.imm.i);
    case ExprOp::Const:
    case ExprOp::Size:
      return s + " " + number(n);
    case ExprOp::Index:
      return s + " d" + std::to_string(n.imm.i);
    default:
      break;
  }
  const char* separator = " ";
  for_each_operand(n, [&](int operand) {
    s += separator + id(operand);
    separator = ", ";
  });
  if (n.op == ExprOp::Repeat) s += " most " + std::to_string(n.imm.i);
  if (n.op == ExprOp::Philox) s += " word " + std::to_string(n.imm.i);
  if (n.op == ExprOp::Check) s += std::string(" or \"") + fault_message(FaultReport{n.imm.i}.fault()) + "\"";
  return s;
}

}  // namespace

std::vector<bool> varies_in_reduction(const Generic& g) {
  std::vector<bool> varies(g.body.size());
  for (int i = 0; i < g.body.size(); ++i) {
    const Node& n = g.body[i];
    if (n.op == ExprOp::Reduce) continue;
    auto walked = [&](int d) { return g.reduces(d) && g.sizes[d] != 1; };
    bool v = n.op == ExprOp::Index && walked(static_cast<int>(n.imm.i));
    if (n.op == ExprOp::Load) {
      for (int d = 0; d < g.rank(); ++d) v |= walked(d) && g.accesses[n.a].strides[d] != 0;
    }
    for_each_operand(n, [&](int id) { v = v || varies[id]; });
    varies[i] = v;
  }
  return varies;
}

std::vector<bool> stored_at_every_index(const Generic& g) {
  const std::vector<bool> varies = varies_in_reduction(g);
  std::vector<bool> full;
  for (const Store& s : g.stores) {
    bool f = varies[s.value] || (s.index >= 0 && varies[s.index]) || (s.guard >= 0 && varies[s.guard]);
    for (int d = 0; d < g.rank(); ++d) f |= g.reduces(d) && g.sizes[d] != 1 && g.accesses[s.access].strides[d] != 0;
    full.push_back(f);
  }
  return full;
}

uint32_t dims_of(const Generic& g, int id) {
  std::vector<uint32_t> dims(id + 1);
  for (int i = 0; i <= id; ++i) {
    const Node& n = g.body[i];
    for_each_operand(n, [&](int operand) { dims[i] |= dims[operand]; });
    if (n.op == ExprOp::Reduce) dims[i] &= ~g.reduce;
    if (n.op == ExprOp::Index) dims[i] |= 1u << n.imm.i;
    if (n.op == ExprOp::Load) {
      for (int d = 0; d < g.rank(); ++d) dims[i] |= static_cast<uint32_t>(g.accesses[n.a].strides[d] != 0) << d;
    }
  }
  return dims[id];
}

void verify(const Generic& g) {
  Verifier(g).run();
}

// generic "softmax" [4, 8*] args [0]        * marks a reduction dimension
//   @0 = slot 2 f32 + 16 strides [8, 1]
//   %0 = load f32 @0
//   store @1 + %3 <- add %2 if %1
std::string to_string(const Generic& g) {
  std::string s = "generic \"" + g.name + "\" [";
  for (int d = 0; d < g.rank(); ++d) s += (d ? ", " : "") + std::to_string(g.sizes[d]) + (g.reduces(d) ? "*" : "");
  s += "]";
  if (!g.args.empty()) {
    s += " args [";
    for (size_t i = 0; i < g.args.size(); ++i) s += (i ? ", " : "") + std::to_string(g.args[i]);
    s += "]";
  }
  s += "\n";
  for (size_t i = 0; i < g.accesses.size(); ++i) {
    const Access& a = g.accesses[i];
    s += "  @" + std::to_string(i) + " = slot " + std::to_string(a.slot) + " " + anygpu::name_of(a.dtype) + " + " +
         std::to_string(a.offset) + " strides " + list_of(a.strides) + "\n";
  }
  for (int i = 0; i < g.body.size(); ++i) s += "  %" + std::to_string(i) + " = " + text_of(g.body[i]) + "\n";
  constexpr const char* kCombine[] = {"", "add ", "mul ", "max ", "min "};
  for (const Store& st : g.stores) {
    s += "  store @" + std::to_string(st.access) + (st.index >= 0 ? " + %" + std::to_string(st.index) : "") + " <- ";
    s += st.combine <= Combine::Min ? kCombine[static_cast<int>(st.combine)] : "unknown ";
    s += "%" + std::to_string(st.value) + (st.guard >= 0 ? " if %" + std::to_string(st.guard) : "") + (st.in_order ? " in order\n" : "\n");
  }
  return s;
}

}  // namespace anygpu::ir
