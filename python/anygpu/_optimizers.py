"""torch.optim's default implementations, recorded as one operator a parameter.

By default torch.optim runs Adam, AdamW and SGD as lists of elementary operators (`_foreach_`): 14 recorded operators a parameter and step,
which the device fuses into one again. Recording the fused step from the start leaves the same arithmetic and a tenth of the host's work.
State, state_dict and the arguments `foreach`, `fused` mean what they did; what is unusual here takes PyTorch's way.
"""

import functools

_DTYPES = ("float32", "float64")


def _usual(torch, tensors, dtypes):
    """All on this device, of a dtype whose elementary operators would not have rounded in between."""
    for t in tensors:
        if t.device.type != "anygpu" or t.dtype not in dtypes:
            return False
    return True


def install(torch):
    """Puts our variants before torch.optim's; a PyTorch that has none of these functions is left as it is."""
    from torch.optim import adam, sgd

    dtypes = frozenset(getattr(torch, d) for d in _DTYPES)
    one = torch.tensor(1.0)
    of_adam = getattr(adam, "_multi_tensor_adam", None)
    of_sgd = getattr(sgd, "_multi_tensor_sgd", None)
    fused_sgd = getattr(sgd, "_fused_sgd", None)

    def multi_tensor_adam(params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, state_steps, grad_scale, found_inf, **kw):
        numbers = all(type(kw[k]) in (float, int) for k in ("lr", "beta1", "beta2"))
        if (
            not numbers
            or torch.compiler.is_compiling()
            or kw["capturable"]
            or kw["differentiable"]
            or grad_scale is not None
            or found_inf is not None
            or not _usual(torch, params, dtypes)
            or not _usual(torch, grads, dtypes)
            or not all(s.is_cpu for s in state_steps)
        ):
            return of_adam(params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, state_steps, grad_scale, found_inf, **kw)
        if not params:
            return None
        torch._foreach_add_(state_steps, one, alpha=1.0)
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
            torch.compiler.is_compiling()
            or not all(type(kw[k]) in (float, int) for k in ("lr", "momentum", "dampening", "weight_decay"))
            or kw["has_sparse_grad"]
            or grad_scale is not None
            or found_inf is not None
            or (any(first) and not all(first))
            or not _usual(torch, params, dtypes)
            or not _usual(torch, grads, dtypes)
        ):
            return of_sgd(params, grads, momentum_buffer_list, grad_scale, found_inf, **kw)
        return fused_sgd(params, grads, momentum_buffer_list, grad_scale, found_inf, **kw)

    if of_adam is not None:
        adam._multi_tensor_adam = functools.wraps(of_adam)(multi_tensor_adam)
    if of_sgd is not None and fused_sgd is not None:
        sgd._multi_tensor_sgd = functools.wraps(of_sgd)(multi_tensor_sgd)
