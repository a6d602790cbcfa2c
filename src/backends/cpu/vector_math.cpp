// Functions of floats, many lanes at a time.
#include <string>

#include "emitter.h"

namespace anygpu::cpu {
namespace {

using ir::ExprOp;

/// libmvec's function for one register of f32 or f64 on this ISA, or "" where the machine has none. At most 4 ULP, as glibc documents.
std::string libmvec_name(const Isa& isa, ExprOp op, bool two, bool f64, int lanes) {
  if (op == ExprOp::Lgamma || op == ExprOp::Nextafter) return "";
  const char letter = isa.arm ? 'n' : isa.vector_bytes == 64 ? 'e' : isa.vector_bytes == 32 ? 'd' : 'b';
  const std::string name = std::string("_ZGV") + letter + "N" + std::to_string(lanes) + (two ? "vv_" : "v_") + ir::name_of(op) + (f64 ? "" : "f");
  return libmvec_function(name.c_str()) ? name : "";
}

Value by_libmvec(IrBuilder& b, const Isa& isa, ExprOp op, Value x, Value y) {
  const bool f64 = b.element_of(b.type_of(x)) == b.f64;
  const int lanes = b.lanes_of(x), one = isa.vector_bytes / (f64 ? 8 : 4);
  if (lanes < one) return nullptr;  // libm
  const std::string name = libmvec_name(isa, op, y != nullptr, f64, one);
  if (name.empty()) return nullptr;
  Values parts;
  for (int i = 0; i < lanes; i += one) {
    Values arguments = {b.lanes(x, i, one)};
    if (y) arguments.push_back(b.lanes(y, i, one));
    parts.push_back(b.call(name.c_str(), b.type_of(arguments[0]), arguments));
  }
  return b.concat(parts);
}

}  // namespace

Value vector_function(IrBuilder& b, const Isa& isa, ExprOp op, Value x, Value y) { return by_libmvec(b, isa, op, x, y); }

}  // namespace anygpu::cpu
