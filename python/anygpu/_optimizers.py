"""torch.optim's default implementations, recorded as one operator a parameter.

By default torch.optim runs Adam, AdamW and SGD as lists of elementary operators (`_foreach_`): 14 recorded operators a parameter and step,
which the device fuses into one again. Recording the fused step from the start leaves the same arithmetic and a tenth of the host's work.
State, state_dict and the arguments `foreach`, `fused` mean what they did; what is unusual here takes PyTorch's way.
"""

import functools


def install(torch):
    """Puts our variants before torch.optim's; a PyTorch that has none of these functions is left as it is."""
    from torch.optim import adam, sgd

    from anygpu._torch import begin_step

    of_adam = getattr(adam, "_multi_tensor_adam", None)
    of_sgd = getattr(sgd, "_multi_tensor_sgd", None)
    fused_sgd = getattr(sgd, "_fused_sgd", None)
    compiling = torch.compiler.is_compiling
    numbers = (float, int)

    def multi_tensor_adam(params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, state_steps, grad_scale, found_inf, **kw):
        if (
            compiling()
            or not all(type(kw[k]) in numbers for k in ("lr", "beta1", "beta2"))
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
            compiling()
            or not all(type(kw[k]) in numbers for k in ("lr", "momentum", "dampening", "weight_decay"))
            or kw["has_sparse_grad"]
            or grad_scale is not None
            or found_inf is not None
            or (any(first) and not all(first))
            or not begin_step(params, grads, [])
        ):
            return of_sgd(params, grads, momentum_buffer_list, grad_scale, found_inf, **kw)
        return fused_sgd(params, grads, momentum_buffer_list, grad_scale, found_inf, **kw)

    if of_adam is not None:
        adam._multi_tensor_adam = functools.wraps(of_adam)(multi_tensor_adam)
    if of_sgd is not None and fused_sgd is not None:
        sgd._multi_tensor_sgd = functools.wraps(of_sgd)(multi_tensor_sgd)
