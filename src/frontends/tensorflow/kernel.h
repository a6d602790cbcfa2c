// How TensorFlow's kernels are written and registered. Every file of ops/ builds on this header alone.
// Adding an operator, in a file of ops/, within its register function:
//   add("Softplus", {{"T", kFloats}}, [](const Node&) {
//     return [](Call& c) {
//       const Array x = c.in(0), y = c.out(0, x.sizes);
//       c.record([=] { record(calls::softplus(x.dtype, 1, 20).out(y).in(x)); });
//     };
//   });
// The outer function reads the node's attributes, once; the inner one is a call: it checks what TensorFlow would refuse, makes the outputs,
// and says what is to be recorded, which happens later (recorder.h). So what is recorded may not look at the context, holds Arrays by
// value, and may write nothing but outputs of its own: a variable that changes gets a new tensor (variable.cpp).
// - An operator that is a function of elements is a line in elementwise.cpp's tables.
// - Operands that must lie in host memory (shapes, axes) are named in add()'s list; c.host(i) and c.host_list(i) read them.
// - int32: where TensorFlow has a kernel for any device that keeps it in host memory, there is none here. Of the others those that compute
// shapes
//   are in host.cpp's table.
#pragma once

#include "anygpu/addresses.h"
#include "anygpu/calls/pointwise.h"
#include "api.h"
#include "frontends/common/operators.h"
#include "recorder.h"

namespace anygpu::tensorflow_frontend {

namespace tf = ::tensorflow;
using common::Array;
using common::record;

// ---- dtypes ----

/// Throws for types that the device does not have.
DType dtype_of(tf::DataType);

using Types = std::vector<tf::DataType>;
Types operator+(Types, const Types&);
inline const Types kFloats{tf::DT_FLOAT, tf::DT_HALF, tf::DT_BFLOAT16, tf::DT_DOUBLE};
inline const Types kInt32{tf::DT_INT32};
inline const Types kInts{tf::DT_INT8, tf::DT_UINT8, tf::DT_INT16, tf::DT_INT64};  ///< without int32
inline const Types kBool{tf::DT_BOOL};
inline const Types kIndex{tf::DT_INT32, tf::DT_INT64};
/// All that the device computes with, but int32.
inline const Types kNumbers = kFloats + kInts;
/// All that the device moves, but int32.
inline const Types kValues = kNumbers + kBool;

// ---- errors ----

/// A status as an exception.
struct Refusal : std::runtime_error {
  explicit Refusal(absl::Status s) : std::runtime_error(std::string(s.message())), status(std::move(s)) {}
  absl::Status status;
};
/// Throws InvalidArgumentError where the condition does not hold.
template <class... Words>
void require(bool condition, const Words&... words) {
  if (!condition) throw Refusal(absl::InvalidArgumentError(absl::StrCat(words...)));
}
/// What TensorFlow raises for an exception of ours.
absl::Status status_of(std::exception_ptr);

// ---- shapes ----

Dims dims_of(const tf::TensorShape&);
tf::TensorShape shape_of(const Dims&);
/// A list of integers in host memory, of either type.
std::vector<int64_t> integers(const tf::Tensor&);
/// An axis counted from the front.
int64_t axis_within(int64_t axis, int64_t rank);
/// NumPy's broadcast of two shapes. Throws InvalidArgumentError.
Dims broadcast(const Dims&, const Dims&);

// ---- kernels ----

/// One execution of a kernel.
class Call {
 public:
  Call(tf::OpKernelContext* context, int64_t kernel) : context(*context), kernel_(kernel) {}

  tf::OpKernelContext& context;

  Device& device();
  int inputs() const { return context.num_inputs(); }
  Dims sizes(int i) const { return dims_of(context.input(i).shape()); }
  /// Input i, which lies on the device.
  Array in(int i) { return array(context.input(i)); }
  /// A tensor on the device that is read.
  Array array(const tf::Tensor&);
  /// Input i, which lies in host memory.
  const tf::Tensor& host(int i) const { return context.input(i); }
  std::vector<int64_t> host_list(int i) const { return integers(context.input(i)); }
  int64_t host_int(int i) const;

  /// Output i: new, to be written by what is recorded.
  Array out(int i, const Dims& sizes);
  /// Output i: the bytes of a tensor, in another shape.
  void same(int i, const tf::Tensor&, const Dims& sizes);
  /// A new tensor that is no output, and the Array of it.
  Array temporary(tf::DataType, const Dims& sizes, tf::Tensor*);

  /// What this execution does. It may be called several times, with what does not depend on each other's results but in this order.
  void record(std::function<void()> f);
  /// Nothing has been written: does what is recorded, if there is anything to write.
  void submit();

 private:
  Array as_array(const tf::Tensor&);
  int64_t kernel_;
  Execution execution_;
};

using Body = std::function<void(Call&)>;

/// A node of a graph, as its kernel is made.
class Node {
 public:
  explicit Node(tf::OpKernelConstruction* c) : construction(*c) {}
  tf::OpKernelConstruction& construction;

  template <class T>
  T attr(const char* name) const {
    T value;
    if (absl::Status s = construction.GetAttr(name, &value); !s.ok()) throw Refusal(s);
    return value;
  }
  bool has(const char* name) const { return construction.HasAttr(name); }
};

struct Constraint {
  const char* attr;
  Types types;
};
/// Registers a kernel for the device. `host`: operands and results in host memory.
void add(const char* op, const std::vector<Constraint>&, const std::vector<const char*>& host, std::function<Body(const Node&)>);
inline void add(const char* op, const std::vector<Constraint>& types, std::function<Body(const Node&)> make) {
  add(op, types, {}, std::move(make));
}
/// The names of all operators that were added, with their types, for docs/operators-tensorflow.md.
std::string added_kernels();

/// Registers all of them: a function a file of ops/.
void register_kernels();
void register_elementwise();
void register_products();
void register_reductions();
void register_shapes();
void register_variables();
void register_host_kernels();
void register_windows();
void register_indexing();
void register_random();
void register_recurrent();
void register_einsum();

/// Functions that XLA should compile run without it (compilation.cpp).
void run_compiled_functions_as_they_are();

}  // namespace anygpu::tensorflow_frontend
