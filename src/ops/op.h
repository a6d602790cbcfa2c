// What a catalogue entry is, and what its lowering function works with.
#pragma once

#include <functional>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

#include "anygpu/ops.h"
#include "ir/named.h"

namespace anygpu {

namespace ops {

class Lowering;

/// One recorded call, as the contract check sees it.
struct CallArgs {
  const Op& op;
  std::span<const ViewArg> views;
  std::span<const Scalar> scalars;
  std::span<const int64_t> attrs;
};

/// What Device::record asks of every call: the contract of its operator, and whether the operator is defined on these dtypes.
/// Throws Error(NotImplemented) where it is not, Error(Value) where it needs a dtype of `lacking` (bit t: DType t). Returns whether it
/// may fail when it runs: it holds a Check.
bool check_call(const CallArgs&, uint32_t lacking = 0);

}  // namespace ops

/// An operator of the catalogue. Tables of these are what the files of src/ops consist of.
struct Op {
  std::string_view name;
  /// Throws where the call breaks the operator's contract. Null: nothing to check. Dtypes need no check: see check_call.
  void (*check)(const ops::CallArgs&);
  /// Describes the call as Generics and Nameds. Runs only when a Trace is planned for the first time.
  void (*lower)(ops::Lowering&);
  int32_t outputs = 1;           ///< views[0 .. outputs) are written
  const void* detail = nullptr;  ///< what lower() needs to know of this entry (e.g. its PointwiseBody)
};

namespace ops {

/// A call being lowered: its operands as slots of the Plan, its attributes, and where its steps go.
class Lowering {
 public:
  /// Supplied by the runtime.
  struct Sink {
    virtual int32_t new_slot(int64_t bytes) = 0;
    virtual void add(ir::Step) = 0;
    virtual ~Sink() = default;
  };
  Lowering(const Op& op, std::span<const ir::Operand> views, std::span<const int64_t> attrs, int first_scalar, int scalars, bool in_order,
           Sink& sink)
      : op(op), in_order(in_order), views_(views), attrs_(attrs), first_scalar_(first_scalar), scalars_(scalars), sink_(sink) {}

  const Op& op;
  const bool in_order;  ///< as Device::record's

  int views() const { return static_cast<int>(views_.size()); }
  const ir::Operand& view(int i) const { return views_[i]; }
  int attrs() const { return static_cast<int>(attrs_.size()); }
  int64_t attr(int i) const { return attrs_[i]; }
  std::span<const int64_t> all_attrs() const { return attrs_; }
  bool has_attr(int i) const { return i < attrs(); }
  int scalars() const { return scalars_; }
  /// Position of the call's i-th scalar among the Trace's.
  int scalar(int i) const { return first_scalar_ + i; }

  /// A fresh contiguous temporary.
  ir::Operand temp(DType, const Dims& sizes);
  /// `g.name` and `n.name` are set to the operator's where empty.
  void add(ir::Generic g);
  void add(ir::Named n);

 private:
  std::span<const ir::Operand> views_;
  std::span<const int64_t> attrs_;
  int first_scalar_, scalars_;
  Sink& sink_;
};

/// Builds one Generic. Operands broadcast as in NumPy: aligned at the last dimension, size 1 repeats.
class Loop {
 public:
  /// `reduce`: mask of the reduction dimensions.
  Loop(Lowering&, const Dims& sizes, uint32_t reduce = 0);

  ir::Body& body() { return g_.body; }
  const Dims& sizes() const { return g_.sizes; }
  /// The operand's element at the current index.
  ir::Val load(const ir::Operand&);
  /// ... cast to `type`.
  ir::Val load(const ir::Operand& o, DType type) { return cast(load(o), type); }
  /// The operand's element at computed indices (i64), one per dimension of the operand. The caller keeps them in range.
  ir::Val load_at(const ir::Operand&, std::initializer_list<ir::Val> index);
  ir::Val load_at(const ir::Operand&, std::span<const ir::Val> index);
  /// The operand's element at the current index, moved by a computed offset (i64, in elements). The caller keeps it in range.
  ir::Val load_beside(const ir::Operand&, ir::Val offset);
  /// The call's i-th scalar, as `type`.
  ir::Val scalar(int i, DType type);
  ir::Val index(int dim) { return ir::index(g_.body, dim); }
  ir::Val i64(int64_t v) { return ir::constant(g_.body, DType::I64, v); }
  /// A number that follows from sizes or strides: a parameter of the kernel, not a constant in it.
  ir::Val size(int64_t v) { return ir::size(g_.body, DType::I64, v); }
  ir::Val f(DType t, double v) { return ir::constant(g_.body, t, v); }

  /// Casts to the operand's dtype and writes at the current index; size-1 dimensions of the operand take no part,
  /// so a reduced value goes to a keepdim-shaped operand.
  void store(const ir::Operand&, ir::Val);
  void store_at(const ir::Operand&, std::span<const ir::Val> index, ir::Val, ir::Combine = ir::Combine::None, ir::Val guard = {});
  void store_at(const ir::Operand&, std::initializer_list<ir::Val> index, ir::Val, ir::Combine = ir::Combine::None, ir::Val guard = {});
  /// As store, moved by a computed offset (i64, in elements).
  void store_beside(const ir::Operand&, ir::Val offset, ir::Val, ir::Combine = ir::Combine::None, ir::Val guard = {});

  /// After a store that combines nothing, and in which several indices may meet in one element: the last one stays, if the call asks for
  /// order. (Stores that combine obey by themselves; those that write each element once need no order.)
  void may_repeat() { g_.stores.back().in_order = lowering_.in_order; }

  /// Adds the Generic to the Lowering.
  void done();

 private:
  int access(const ir::Operand&, const Dims& strides);
  ir::Val offset_of(const ir::Operand&, std::span<const ir::Val> index);
  void store_moved(const ir::Operand&, const Dims& strides, ir::Val offset, ir::Val, ir::Combine, ir::Val guard);
  Lowering& lowering_;
  ir::Generic g_;
};

// ---- views of operands: no work, only other strides ----
ir::Operand permuted(const ir::Operand&, std::initializer_list<int> dims);
ir::Operand transposed(const ir::Operand&, int a, int b);
ir::Operand unsqueezed(const ir::Operand&, int dim);
ir::Operand selected(const ir::Operand&, int dim, int64_t index);
ir::Operand narrowed(const ir::Operand&, int dim, int64_t start, int64_t length);
/// Same elements in row-major order under other sizes. Only for contiguous operands (e.g. temporaries).
ir::Operand reshaped(const ir::Operand&, const Dims& sizes);
/// Sizes of `o` with those in `mask` replaced by 1.
Dims kept(const Dims& sizes, uint32_t mask);

// ---- pointwise operators: a line each in a table ----

/// What a pointwise body sees.
class Pointwise {
 public:
  Pointwise(Lowering& l, Loop& loop);
  const DType type;  ///< compute type: f16 and bf16 have become f32, bool u8
  Lowering& lowering;
  Loop& loop;
  /// Input i (0 = the first after the outputs), cast to the compute type.
  ir::Val in(int i);
  /// Input i uncast (masks, indices). A number is of the compute type.
  ir::Val raw(int i);
  /// Input i as a truth value.
  ir::Val truth(int i) { return cast(raw(i), DType::Bool); }
  /// Casts and writes to output i: for operators of several outputs.
  void out(int i, ir::Val v) { loop.store(lowering.view(i), v); }
  ir::Val s(int i, DType t) { return loop.scalar(i, t); }
  ir::Val s(int i) { return s(i, type); }
  ir::Val c(double v) { return loop.f(type, v); }
  int64_t attr(int i) const { return lowering.attr(i + 1); }  ///< attrs after the compute type
};
/// Returns the value of output 0 (operators of several outputs store the others themselves by p.loop.store).
using PointwiseBody = ir::Val (*)(Pointwise&);

/// calls::Pointwise says what a call is.
#define ANYGPU_POINTWISE(op_name, n_outputs, ...)                                           \
  Op {                                                                                      \
    op_name, anygpu::ops::check_pointwise, anygpu::ops::lower_pointwise, n_outputs,         \
        reinterpret_cast<const void*>(static_cast<anygpu::ops::PointwiseBody>(__VA_ARGS__)) \
  }
void check_pointwise(const CallArgs&);
void lower_pointwise(Lowering&);

/// Each file of src/ops hands its table over by a function listed in registry.cpp.
using OpTable = std::span<const Op>;

}  // namespace ops
}  // namespace anygpu
