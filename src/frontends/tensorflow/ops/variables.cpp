// Variables. One that changes gets a new tensor: who has read it before keeps the old one, whoever runs first, and no kernel writes what
// another has written (recorder.h). The old tensor's memory goes back when its last reader is done.
#include "../kernel.h"

namespace anygpu::tensorflow_frontend {

namespace {

tf::core::RefCountPtr<tf::Var> variable(Call& c, int input) {
  tf::core::RefCountPtr<tf::Var> v;
  if (absl::Status s = tf::LookupResource(&c.context, tf::HandleFromInput(&c.context, input), &v); !s.ok()) throw Refusal(s);
  return v;
}

Body assign(const Node& node) {
  const auto type = node.attr<tf::DataType>("dtype");
  const bool checks = node.has("validate_shape") && node.attr<bool>("validate_shape");
  return [=](Call& c) {
    const tf::Tensor& value = c.context.input(1);
    tf::core::RefCountPtr<tf::Var> v;
    const absl::Status s = tf::LookupOrCreateResource<tf::Var>(&c.context, tf::HandleFromInput(&c.context, 0), &v, [&](tf::Var** made) {
      *made = new tf::Var(type);
      return absl::OkStatus();
    });
    if (!s.ok()) throw Refusal(s);
    tf::mutex_lock lock(*v->mu());
    require(v->tensor()->dtype() == type, "Trying to assign variable with wrong dtype. Expected ", tf::DataTypeString(v->tensor()->dtype()),
            " got ", tf::DataTypeString(type));
    require(!checks || !v->is_initialized || v->tensor()->shape().IsSameSize(value.shape()),
            "Trying to assign to variable with tensor with wrong shape. Expected ", v->tensor()->shape().DebugString(), " got ",
            value.shape().DebugString());
    *v->tensor() = value;
    v->is_initialized = true;
  };
}

std::function<Body(const Node&)> update(const char* catalogue) {
  const Op& entry = op(catalogue);
  return [&entry](const Node&) {
    return [&entry](Call& c) {
      const auto v = variable(c, 0);
      const tf::Tensor& value = c.context.input(1);
      tf::mutex_lock lock(*v->mu());
      require(v->is_initialized, "Trying to update an uninitialized variable");
      require(v->tensor()->shape().IsSameSize(value.shape()), "Cannot update variable with shape ", v->tensor()->shape().DebugString(),
              " using a Tensor with shape ", value.shape().DebugString(), ", shapes must be equal.");
      const Array old = c.array(*v->tensor()), change = c.in(1);
      tf::Tensor fresh;
      const Array now = c.temporary(value.dtype(), old.sizes, &fresh);
      if (now.elements()) c.record([&entry, old, change, now] { record(calls::Pointwise(entry, now.dtype).out(now).in(old).in(change)); });
      *v->tensor() = fresh;
    };
  };
}

}  // namespace

void register_variables() {
  add("AssignVariableOp", {{"dtype", kValues}}, {"resource"}, assign);
  add("AssignAddVariableOp", {{"dtype", kNumbers}}, {"resource"}, update("add"));
  add("AssignSubVariableOp", {{"dtype", kNumbers}}, {"resource"}, update("sub"));
}

}  // namespace anygpu::tensorflow_frontend
