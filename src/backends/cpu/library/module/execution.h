// Execution: one oneDNN primitive between operands of any layout.
//
//   operand ── packed where its strides are none that oneDNN takes ── reordered where the primitive asks ── primitive ── and back
#pragma once

#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "backends/cpu/library/module/onednn.h"
#include "backends/cpu/library/module/scratch.h"

namespace anygpu::cpu {

/// The part of an Operand that oneDNN sees, after dimensions were merged, split or permuted.
struct ArrayRef {
  int32_t slot;
  DType dtype;
  int64_t offset;  // elements
  Dims sizes, strides;
  bool dense_copy = false;  ///< oneDNN is to see a dense copy, though it could be told these strides
  int64_t block = 0;        ///< as Operand's
};

inline ArrayRef array_of(const ir::Operand& o) {
  return {o.slot, o.dtype, o.offset, o.sizes, o.strides, false, o.block};
}

/// Strides of dimensions of one element mean nothing: they become those of a dense array, so that equal layouts compare equal.
void settle_unit_strides(ArrayRef&);
/// Whether oneDNN sees a dense copy: because that is asked for, or because its descriptors cannot say that two indices share an address.
bool is_copied(const ArrayRef&);
/// The layout that oneDNN sees: the array's own, or that of its dense copy.
onednn::Desc plain_desc(const ArrayRef&);

class Execution final : public PreparedNamed {
 public:
  /// `op` leads error messages. The primitive was created, and will run, with so many threads.
  Execution(std::string op, int threads) : op_(std::move(op)), threads_(threads) {}

  /// The primitive reads (writes) argument `arg`, in the layout `wanted`, from (to) `array`.
  void input(int arg, const ArrayRef& array, const onednn::Desc& wanted);
  void output(int arg, const ArrayRef& array, const onednn::Desc& wanted);
  /// Before the primitive runs, the output becomes `from` (its sizes, any strides), for primitives that add to it. The output's
  /// wanted layout must be its plain one.
  void start_output_from(const ArrayRef& from);
  void finish(dnnl::primitive primitive, const onednn::Desc& scratchpad);

  void run(const Memory* slots) override;

 private:
  struct Arg {
    int id;
    bool is_output;
    ArrayRef array;
    bool pack, reorder;
    onednn::Desc plain, wanted;
    dnnl::memory plain_memory, wanted_memory;
    dnnl::reorder reorder_primitive;
    dnnl::memory reorder_scratch;
    size_t pack_at = 0, wanted_at = 0, reorder_scratch_at = 0;  // bytes into the scratch
  };
  void add(int arg, bool is_output, const ArrayRef& array, const onednn::Desc& wanted);
  size_t reserve(size_t bytes);
  void reorder(Arg&, char* scratch);
  void execute(const Memory* slots, char* scratch);

  std::string op_;
  int threads_;
  std::mutex mutex_;
  std::vector<Arg> args_;
  bool has_start_ = false;
  ArrayRef start_{};
  dnnl::primitive primitive_;
  dnnl::memory scratchpad_;
  size_t scratchpad_at_ = 0, scratch_bytes_ = 0;
  std::unordered_map<int, dnnl::memory> bound_;
  std::unique_ptr<dnnl::stream> stream_;
};

/// Fills dst with `from` (dst's sizes, any strides), or zeros: a matmul or convolution over nothing.
std::unique_ptr<PreparedNamed> make_fill(const ArrayRef& dst, const ArrayRef* from);

/// Runs `f`, turning oneDNN's exceptions into Error(Internal) "[op] doing: <oneDNN's words>".
template <class F>
auto translate(const std::string& op, const char* doing, F&& f) {
  try {
    return f();
  } catch (const dnnl::error& e) {
    throw Error(ErrorKind::Internal,
                "[" + op + "] oneDNN failed to " + doing + ": " + e.what() + " (status " + std::to_string(e.status) + ")");
  }
}

}  // namespace anygpu::cpu
