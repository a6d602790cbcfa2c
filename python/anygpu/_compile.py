"""torch.compile on this device: Dynamo takes the graph out of Python, and the device, which fuses across operators anyway, runs it.

`torch.compile(model)` names Inductor, which makes kernels for the devices that it knows. A graph that touches ours is run operator by
operator instead, each recorded as in eager mode; what is compiled away is Python between them. So a compiled model computes the bits of
the eager one, random numbers included, and compiling costs what Dynamo's tracing does. Graphs of other devices go to Inductor as ever.
"""

import functools

from anygpu import _optimizers


def backend(graph, inputs, **options):
    """The Dynamo backend `anygpu`. `mode` and `options`, which choose among Inductor's ways, change nothing here."""
    if _unpack_at_once(graph.graph):
        graph.recompile()
    return graph.forward


def _writes(node):
    """Whether a node may write into a tensor: add_, operator.iadd, x[i] = y, out=, inplace=True."""
    if node.op not in ("call_method", "call_function"):
        return False
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    in_place = name.endswith("_") and not name.endswith("__")
    operators = name == "setitem" or (getattr(node.target, "__module__", "") == "_operator" and name.startswith("i") and name != "invert")
    return in_place or operators or "out" in node.kwargs or _is_given(node, "inplace")


def _is_given(node, parameter):
    """Whether a function of Python's has this parameter, and it is called with something true."""
    import inspect

    try:
        return bool(inspect.signature(node.target).bind(*node.args, **node.kwargs).arguments.get(parameter))
    except (TypeError, ValueError):  # a method's name, or written in C: there in-place variants have names of their own
        return False


def _unpack_at_once(graph):
    """`q, k, v = x` is one unbind in eager mode, and in Dynamo's graphs x[0], x[1], x[2], whose gradients are filled with zeros, one by
    one, and added. What unbind returns may not be written into: graphs that write are left alone. Returns whether anything changed."""
    import operator

    import torch

    nodes, changed = list(graph.nodes), False
    if any(map(_writes, nodes)):
        return False
    for x in nodes:
        value = x.meta.get("example_value")
        picks = [n for n in x.users if n.op == "call_function" and n.target is operator.getitem and type(n.args[1]) is int]
        if not isinstance(value, torch.Tensor) or not value.requires_grad or value.dim() == 0 or type(value.shape[0]) is not int:
            continue
        if len(picks) < 2 or sorted(n.args[1] for n in picks) != list(range(value.shape[0])):
            continue
        with graph.inserting_after(x):
            whole = graph.call_function(torch.unbind, (x,))
        for n in picks:
            n.replace_input_with(x, whole)
        changed = True
    return changed


def touches_device(graph, inputs):
    """Whether an input, a constant or a result within the graph, or in a graph nested in it, is on this device."""

    def on_device(value):
        if isinstance(value, (list, tuple)):
            return any(map(on_device, value))
        return getattr(getattr(value, "device", None), "type", None) == "anygpu"

    if on_device(list(inputs)):
        return True
    for module in graph.modules():
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        if on_device(own):
            return True
        for node in getattr(module, "graph", graph.graph).nodes:
            if on_device(node.meta.get("example_value")) or (node.op == "get_attr" and on_device(getattr(module, node.target, None))):
                return True
    return False


def install(torch):
    """Puts the choice by device before Inductor, wherever torch.compile names it."""
    wrapper = getattr(torch, "_TorchCompileInductorWrapper", None)
    if wrapper is None:
        return
    of_inductor, made = wrapper.__call__, wrapper.__init__

    @functools.wraps(made)
    def init(self, *args, **kw):
        _optimizers.allow_in_graph(torch)
        made(self, *args, **kw)

    @functools.wraps(of_inductor)
    def call(self, graph, inputs, **kw):
        if self.compiler_name == "inductor" and touches_device(graph, inputs):
            return backend(graph, inputs)
        return of_inductor(self, graph, inputs, **kw)

    def compiler_config(self):
        """What the original returns; that loads all of Inductor before it is known who compiles, two seconds of a first compilation."""
        from torch._inductor import config

        with config.patch(self.config):
            return config.get_config_copy()

    wrapper.__init__, wrapper.__call__ = init, call
    wrapper.get_compiler_config = functools.wraps(wrapper.get_compiler_config)(compiler_config)
