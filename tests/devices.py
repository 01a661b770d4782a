"""Two pretended devices: CPU tensors that refuse to meet a tensor of another device, as real ones would."""

from typing import Any

import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

FIRST, SECOND = torch.device("xla:0"), torch.device("xla:1")
_CPU = torch.device("cpu")
_INDEXING = (torch.ops.aten.index.Tensor, torch.ops.aten.index_put.default)


class Placed(torch.Tensor):
    """A tensor that says it is on a pretended device; its values lie on the CPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, values: torch.Tensor, place: torch.device) -> "Placed":
        made = torch.Tensor._make_wrapper_subclass(
            cls, values.size(), strides=values.stride(), dtype=values.dtype, device=_CPU
        )
        made.values, made.place = values, place
        return made

    @property
    def device(self) -> torch.device:
        return self.place

    def to(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        if args and isinstance(args[0], torch.Tensor):
            device, dtype = args[0].device, args[0].dtype
        else:
            device, dtype, *_ = torch._C._nn._parse_to(*args, **kwargs)
        found = self if dtype is None else torch.Tensor.to(self, dtype)
        return found if device in (None, self.place) else _Move.apply(found, device)

    def cpu(self) -> torch.Tensor:
        return self.to(_CPU)

    def __repr__(self) -> str:
        return f"Placed({self.place}, {tuple(self.shape)})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class Pretence(TorchDispatchMode):
    """Lets plain tensors be made on, and modules moved to, the pretended devices."""

    def __enter__(self) -> "Pretence":
        # a module's `to` would otherwise put a subclass's data under a plain parameter
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        self.beside = _Beside()
        self.beside.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.beside.__exit__(*error)
        torch.__future__.set_overwrite_module_params_on_conversion(False)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Beside(TorchFunctionMode):
    """Sends a plain tensor to where another one says it is."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.to and len(args) > 1 and isinstance(args[1], Placed):
            return args[0].to(args[1].device, args[1].dtype)
        return func(*args, **(kwargs or {}))


class _Move(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Placed, place: torch.device) -> torch.Tensor:
        ctx.place = tensor.device
        return _at(_plain(tensor).clone(), place)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        return _at(_plain(gradient).clone(), ctx.place), None


def _like(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _at(values: torch.Tensor, place: torch.device) -> torch.Tensor:
    return values if place == _CPU else Placed(values, place)


def _plain(value: Any) -> Any:
    return value.values if isinstance(value, Placed) else value


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [t for t in tree_leaves((args, kwargs)) if _like(t)]
    if func in _INDEXING:
        tensors = [t for t in tensors if isinstance(t, Placed) or t is args[0]]
    places = {t.device for t in tensors if isinstance(t, Placed) or t.dim()}
    asked = kwargs.get("device")
    moves = func is torch.ops.aten._to_copy.default and asked is not None
    copies = func is torch.ops.aten.copy_.default
    if len(places) > 1 and not copies:
        raise RuntimeError(f"{func}: expected all tensors to be on one device, found {places}")
    place = args[0].device if copies else next(iter(places), _CPU)
    if moves or not tensors:
        place = torch.device(asked) if asked is not None else place
    if asked is not None:
        kwargs = kwargs | {"device": _CPU}
    found = func(*tree_map(_plain, args), **tree_map(_plain, kwargs))
    if func._schema.is_mutable:
        return args[0]
    return tree_map(lambda t: _at(t, place) if _like(t) else t, found)


def spread(model: torch.nn.Module, parts: dict[str, torch.device]) -> torch.nn.Module:
    """Puts a model's parts on pretended devices, with the hooks that accelerate's dispatch gives them."""
    for name, device in parts.items():
        module = model.get_submodule(name)
        for one in module.modules():
            for key, parameter in one._parameters.items():
                if parameter is not None and not isinstance(parameter.data, Placed):
                    one._parameters[key] = torch.nn.Parameter(
                        Placed(parameter.data, device), parameter.requires_grad
                    )
            for key, buffer in one._buffers.items():
                if buffer is not None and not isinstance(buffer, Placed):
                    one._buffers[key] = Placed(buffer, device)
        add_hook_to_module(module, _Align(execution_device=device))
    add_hook_to_module(model, _Align(execution_device=FIRST, io_same_device=True))
    model.hf_device_map = parts
    return model


class _Align(AlignDevicesHook):
    def init_hook(self, module: torch.nn.Module) -> torch.nn.Module:
        return module
