"""torch.optim's default implementations, recorded as one operator a parameter.

By default torch.optim runs Adam, AdamW and SGD as lists of elementary operators (`_foreach_`): 14 recorded operators a parameter and step,
which the device fuses into one again. Recording the fused step from the start leaves the same arithmetic and a tenth of the host's work.
State, state_dict and the arguments `foreach`, `fused` mean what they did; what is unusual here takes PyTorch's way.

Where torch.compile traces an optimizer's step, the variant is one node of the graph (`allow_in_graph`), which records what eager mode does.
"""

import functools
import sys

_in_graph = {}  # what Dynamo may put into a graph, by the name of the variant; empty until something is compiled


def allow_in_graph(torch):
    """Called before anything is compiled: it loads torch._dynamo."""
    for name, function in _variants.items():
        _in_graph.setdefault(name, torch._dynamo.allow_in_graph(function))


_variants = {}


def _compilable(torch, name, variant, original, prepare):
    """`variant`, and while Dynamo traces, one node of the graph that calls it, where the parameters are on this device.

    prepare(args, kw): what Dynamo's arguments should have been, or None where the call does more than write into tensors."""
    compiling = torch.compiler.is_compiling

    def node(params, *args, **kw):
        if params and isinstance(params[0], torch._subclasses.FakeTensor):
            return None  # shapes are what Dynamo asks for, and a step changes none
        return variant(params, *args, **prepare(args, kw))

    def choice(params, *args, **kw):
        if not compiling():
            return variant(params, *args, **kw)
        if name in _in_graph and params and params[0].device.type == "anygpu" and prepare(args, kw) is not None:
            return _in_graph[name](params, *args, **kw)
        return original(params, *args, **kw)

    _variants[name] = node
    return functools.wraps(original)(choice)


def _prepare_adam(args, kw):
    """Dynamo says `capturable` to have step counts beside the parameters; a state made in eager mode has them where it says."""
    steps = args[4]
    return {**kw, "capturable": len(steps) > 0 and steps[0].device.type != "cpu"}


def _prepare_sgd(args, kw):
    """A first step with momentum puts new tensors into a list."""
    return kw if kw["momentum"] == 0 or all(b is not None for b in args[1]) else None


def _one_by_one_where_mixed(torch):
    """DTensors beside plain tensors, as a module that is parallel in part has them, are no operands of one foreach operator: an optimizer
    that was not told to use these goes through its parameters one by one then, as it does on the CPU."""
    from torch.optim import optimizer

    plain = (torch.Tensor, torch.nn.Parameter)
    choose = getattr(optimizer, "_default_to_fused_or_foreach", None)
    if choose is None:
        return

    @functools.wraps(choose)
    def choice(params, *args, **kw):
        fused, foreach = choose(params, *args, **kw)
        if foreach and not torch.compiler.is_compiling():
            foreach = len({type(p) in plain for p in params if p is not None}) < 2
        return fused, foreach

    for name, module in list(sys.modules.items()):  # torch.optim names the classes alone
        if name.startswith("torch.optim.") and getattr(module, "_default_to_fused_or_foreach", None) is choose:
            module._default_to_fused_or_foreach = choice


def install(torch):
    """Puts our variants before torch.optim's; a PyTorch that has none of these functions is left as it is."""
    from torch.optim import adam, sgd

    from anygpu._torch import begin_step

    of_adam = getattr(adam, "_multi_tensor_adam", None)
    of_sgd = getattr(sgd, "_multi_tensor_sgd", None)
    fused_sgd = getattr(sgd, "_fused_sgd", None)
    numbers = (float, int)
    _one_by_one_where_mixed(torch)

    def multi_tensor_adam(params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, state_steps, grad_scale, found_inf, **kw):
        if (
            not all(type(kw[k]) in numbers for k in ("lr", "beta1", "beta2"))
            or kw["capturable"]
            or kw["differentiable"]
            or grad_scale is not None
            or found_inf is not None
            or not begin_step(params, grads, state_steps)
        ):
            return of_adam(params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, state_steps, grad_scale, found_inf, **kw)
        if not params:
            return None
        step = torch._fused_adamw_ if kw["decoupled_weight_decay"] else torch._fused_adam_
        step(
            params,
            grads,
            exp_avgs,
            exp_avg_sqs,
            max_exp_avg_sqs,
            state_steps,
            lr=kw["lr"],
            beta1=kw["beta1"],
            beta2=kw["beta2"],
            weight_decay=kw["weight_decay"],
            eps=kw["eps"],
            amsgrad=kw["amsgrad"],
            maximize=kw["maximize"],
        )
        return None

    def multi_tensor_sgd(params, grads, momentum_buffer_list, grad_scale, found_inf, **kw):
        first = [b is None for b in momentum_buffer_list]
        if (
            not all(type(kw[k]) in numbers for k in ("lr", "momentum", "dampening", "weight_decay"))
            or kw["has_sparse_grad"]
            or grad_scale is not None
            or found_inf is not None
            or (any(first) and not all(first))
            or not begin_step(params, grads, [])
        ):
            return of_sgd(params, grads, momentum_buffer_list, grad_scale, found_inf, **kw)
        return fused_sgd(params, grads, momentum_buffer_list, grad_scale, found_inf, **kw)

    if of_adam is not None:
        adam._multi_tensor_adam = _compilable(torch, "adam", multi_tensor_adam, of_adam, _prepare_adam)
    if of_sgd is not None and fused_sgd is not None:
        sgd._multi_tensor_sgd = _compilable(torch, "sgd", multi_tensor_sgd, of_sgd, _prepare_sgd)
