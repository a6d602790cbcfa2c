// Loads and stores. Memory is words of 32 bits, or what the device has: 64-bit elements beside them, 8 and 16 bits where it can.
#include "core/numbers.h"
#include "emitter.h"

namespace anygpu::gpu {

using ir::Combine;
using ir::ExprOp;
using ir::Node;

bool Emitter::packs(DType t) const {
  return size_of(t) == 1 ? !caps_.storage8 : size_of(t) == 2 && !caps_.storage16;
}

Value Emitter::from_memory(DType t, Value raw) {
  switch (t) {
    case DType::Bool:
      return raw != 0;
    case DType::I8:
    case DType::I16:
      return wrap(t, raw);
    case DType::F32:
    case DType::F64:
      return b_.bits(raw, register_type(t, false));
    default:
      return raw;
  }
}

Value Emitter::to_memory(DType t, Value v) {
  if (t == DType::Bool) return b_.select(v, b_.u32(1), b_.u32(0));
  if (t == DType::F32) return b_.bits(v, Type::U32);
  if (t == DType::F64) return b_.bits(v, Type::U64);
  return t == DType::I64 ? b_.sign_extend(v) : v;
}

Value Emitter::load_at(int access, Value address) {
  const KernelAccess& a = spec_.accesses[access];
  const int64_t size = size_of(a.dtype);
  if (size == 8) return b_.load(a.binding, Type::U64, address);
  if (size == 4) return b_.load(a.binding, Type::U32, address);
  if (!packs(a.dtype)) return b_.load(a.binding, size == 2 ? Type::U16 : Type::U8, address);
  const Value word = b_.load(a.binding, Type::U32, address >> (size == 2 ? 1 : 2));
  const Value shift = size == 2 ? (address & b_.u32(1)) << 4 : (address & b_.u32(3)) << 3;
  return (word >> shift) & b_.u32(size == 2 ? 0xffff : 0xff);
}

Value Emitter::load(const Scope& scope, const Node& n, bool is_narrow) {
  Value address = scope.bases[n.a];
  if (n.b >= 0) address = address + b_.to_u32(operand(scope, n.b));
  const KernelAccess& a = spec_.accesses[n.a];
  if (is_narrow) return b_.load(a.binding, Type::U32, address << 1);  // its low half
  if (a.texels >= 0) {
    if (!a.four) return from_memory(n.type, b_.fetch(a.texels, address)[0]);
    auto [at, is_new] = scope.fours->texels.try_emplace(n.a);
    if (is_new) at->second = b_.fetch(a.texels, scope.fours->bases[n.a] >> 2);
    return from_memory(n.type, at->second[scope.element]);
  }
  return from_memory(n.type, load_at(n.a, address));
}

// Bits of others in the word stay: each is another invocation's own.
void Emitter::write_packed(int access, Value address, Value raw) {
  const KernelAccess& a = spec_.accesses[access];
  const bool two = size_of(a.dtype) == 2;
  const Value word = address >> (two ? 1 : 2), shift = two ? (address & b_.u32(1)) << 4 : (address & b_.u32(3)) << 3;
  const Value mask = b_.u32(two ? 0xffff : 0xff);
  b_.atomic(Atomic::And, a.binding, word, ~(mask << shift));
  b_.atomic(Atomic::Or, a.binding, word, (raw & mask) << shift);
}

void Emitter::write(int access, Value address, Value raw) {
  const KernelAccess& a = spec_.accesses[access];
  if (size_of(a.dtype) >= 4) return b_.store(a.binding, raw, address);
  if (packs(a.dtype)) return write_packed(access, address, raw);
  b_.store_narrow(a.binding, size_of(a.dtype) == 2 ? Type::U16 : Type::U8, raw, address);
}

Value Emitter::combine(Combine how, DType t, Value old, Value value) {
  if (t == DType::Bool) return how == Combine::Add || how == Combine::Max ? old | value : old & value;
  if (is_half(t)) {
    const bool brain = t == DType::BF16;
    return encode_half(brain, combine(how, DType::F32, decode_half(brain, old), decode_half(brain, value)));
  }
  switch (how) {
    case Combine::Add:
      return wrap(t, old + value);
    case Combine::Mul:
      return wrap(t, old * value);
    case Combine::Max:
      return extremum(true, t, old, value);
    case Combine::Min:
      return extremum(false, t, old, value);
    default:
      return value;
  }
}

void Emitter::combine_atomically(const KernelStore& st, Value address, Value value) {
  const KernelAccess& a = spec_.accesses[st.store.access];
  const DType t = a.dtype;
  const Combine how = st.store.combine;
  if (t == DType::I32 && how != Combine::Mul) {
    b_.atomic(how == Combine::Add ? Atomic::Add : how == Combine::Max ? Atomic::SignedMax : Atomic::SignedMin, a.binding, address, value);
    return;
  }
  if (t == DType::I64) {  // Add: halves by themselves, with the carry of what was there. Nobody reads until all is added.
    const Value low = b_.to_u32(value), high = b_.to_u32(value >> 32), word = address << 1;
    const Value old = b_.atomic(Atomic::Add, a.binding, word, low);
    const Value carry = b_.select(old + low < old, b_.u32(1), b_.u32(0));
    b_.atomic(Atomic::Add, a.binding, word + b_.u32(1), high + carry);
    return;
  }
  const int64_t size = size_of(t);
  const Value word = size == 4 ? address : address >> (size == 2 ? 1 : 2);
  const Value shift = size == 4 ? b_.u32(0) : size == 2 ? (address & b_.u32(1)) << 4 : (address & b_.u32(3)) << 3;
  const Value mask = b_.u32(size == 4 ? 0xffffffffu : size == 2 ? 0xffff : 0xff);
  if (t == DType::Bool) {
    const Value raw = to_memory(t, value) << shift;
    if (how == Combine::Add || how == Combine::Max) {
      b_.atomic(Atomic::Or, a.binding, word, raw);
    } else {
      b_.atomic(Atomic::And, a.binding, word, raw | ~(mask << shift));
    }
    return;
  }
  const Variable seen = b_.variable(Type::U32);
  seen.set(b_.load(a.binding, Type::U32, word));
  b_.repeat([&] {
    const Value old = seen.get();
    const Value raw = to_memory(t, combine(how, t, from_memory(t, (old >> shift) & mask), value)) & mask;
    const Value found = b_.compare_exchange(a.binding, word, old, (old & ~(mask << shift)) | (raw << shift));
    seen.set(found);
    return found != old;
  });
}

void Emitter::store(const Scope& scope, const KernelStore& st) {
  const ir::Store& s = st.store;
  const DType t = spec_.accesses[s.access].dtype;
  auto make = [&] {
    Value address = scope.bases[s.access];
    if (s.index >= 0) address = address + b_.to_u32(operand(scope, s.index));
    Value v = operand(scope, s.value);
    if (t == DType::I64) v = b_.sign_extend(v);
    if (st.atomic) return combine_atomically(st, address, v);
    if (s.combine != Combine::None) v = combine(s.combine, t, from_memory(t, load_at(s.access, address)), v);
    write(s.access, address, to_memory(t, v));
  };
  if (s.guard < 0) return make();
  b_.if_(operand(scope, s.guard), make);
}

/// The stores of one element or of four neighbours: those at every index of the reduction (full), or all others. Owned ones are not meant.
void Emitter::store_all(const std::vector<Scope>& elements, bool full) {
  for (const KernelStore& st : spec_.stores) {
    if (st.full != full || st.owned) continue;
    const ir::Store& s = st.store;
    if (elements.size() == 4 && spec_.accesses[s.access].four && s.index < 0 && s.guard < 0 && s.combine == Combine::None) {
      Builder::Four values;
      for (int i = 0; i < 4; ++i) values[i] = to_memory(spec_.accesses[s.access].dtype, operand(elements[i], s.value));
      b_.store_four(spec_.accesses[s.access].binding, values, elements[0].bases[s.access] >> 2);
      continue;
    }
    for (const Scope& e : elements) store(e, st);
  }
}

// An invocation's elements are neighbours, and begin with a word: whole words are stored, the rest element by element.
void Emitter::store_owned(const KernelStore& st, const std::vector<Scope>& elements, Value first, Value end) {
  const int access = st.store.access, binding = spec_.accesses[access].binding;
  const DType t = spec_.accesses[access].dtype;
  const int per_word = static_cast<int>(4 / size_of(t)), bits = 32 / per_word, count = static_cast<int>(elements.size());
  const Value mask = b_.u32((1u << bits) - 1);
  Values raw;
  for (const Scope& s : elements) raw.push_back(to_memory(t, operand(s, st.store.value)) & mask);
  auto guard = [&](int i) { return st.store.guard < 0 ? Value{} : operand(elements[i], st.store.guard); };
  const Value all = first + b_.u32(static_cast<uint32_t>(count)) <= end;
  b_.if_(
      all,
      [&] {
        for (int w = 0; w < count / per_word; ++w) {
          Value word = raw[w * per_word], keep;
          for (int k = 0; k < per_word; ++k) {
            if (k) word = word | (raw[w * per_word + k] << (k * bits));
            if (const Value g = guard(w * per_word + k)) {
              const Value part = b_.select(g, b_.u32(0), b_.u32(static_cast<uint32_t>(((uint64_t{1} << bits) - 1) << (k * bits))));
              keep = keep ? keep | part : part;
            }
          }
          const Value at = elements[w * per_word].bases[access] >> (per_word == 2 ? 1 : 2);
          if (keep) word = (word & ~keep) | (b_.load(binding, Type::U32, at) & keep);
          b_.store(binding, word, at);
        }
      },
      [&] {
        for (int i = 0; i < count; ++i) {
          Value active = first + b_.u32(static_cast<uint32_t>(i)) < end;
          if (const Value g = guard(i)) active = active & g;
          b_.if_(active, [&] { write_packed(access, elements[i].bases[access], raw[i]); });
        }
      });
}

}  // namespace anygpu::gpu
