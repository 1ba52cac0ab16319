"""Networks as modules of PyTorch, and modules as networks.

What PyTorch has a module for is in `_ACTIVATIONS` or in `_stage_module`. The rest is a `Formula`: the NumPy text,
computed with PyTorch's functions (see ``trace``).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..checks import Array, instance_hint, shown
from ..engine.engine import Engine
from ..extras import needs
from ..formulas.activations import (
    ELU,
    GELU,
    SELU,
    ActivationFunction,
    ExactGELU,
    HardTanh,
    LeakyReLU,
    Mish,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from ..formulas.losses import LossFunction
from ..layers.base import BaseLayer
from ..layers.noise import Dropout
from ..layers.normalisation import BatchNorm, LayerNorm
from ..layers.stage import Stage
from .assembly import Assembly
from .steps import Formula as FormulaStep, Lookup as LookupStep, Matrix, in_terms_of, steps_of
from .trace import CONCAT, evaluate

torch = needs("torch", "a module of PyTorch", "torch")
nn = torch.nn
Module: Any = nn.Module

FORMAT = "PyTorch"

_SAME_NAME = (
    "add subtract multiply divide negative absolute exp exp2 expm1 log log1p log2 log10 sqrt hypot sin cos tan "
    "sinh cosh tanh arcsin arccos arctan arctan2 arcsinh arccosh arctanh floor ceil trunc fmod copysign "
    "greater greater_equal less less_equal not_equal logical_and logical_or logical_not where"
)
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(torch, name) for name in _SAME_NAME.split()},
    "equal": torch.eq,  # torch.equal is of whole tensors
    "rint": torch.round,
    "power": torch.pow,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "sum": lambda x: x.sum(-1, keepdim=True),
    "max": lambda x: x.amax(-1, keepdim=True),
    "min": lambda x: x.amin(-1, keepdim=True),
    CONCAT: lambda *parts: torch.cat(parts, -1),
}

_ACTIVATIONS: dict[type, Callable[[Any], Any]] = {
    ReLU: lambda act: nn.ReLU(),
    ReLU6: lambda act: nn.ReLU6(),
    HardTanh: lambda act: nn.Hardtanh(),
    LeakyReLU: lambda act: nn.LeakyReLU(act.leaky_param),
    Sigmoid: lambda act: nn.Sigmoid(),
    Tanh: lambda act: nn.Tanh(),
    ELU: lambda act: nn.ELU(act.alpha),
    SELU: lambda act: nn.SELU(),
    GELU: lambda act: nn.GELU(approximate="tanh"),
    ExactGELU: lambda act: nn.GELU(),
    SiLU: lambda act: nn.SiLU(),
    Softplus: lambda act: nn.Softplus(threshold=1000.0),  # above which it would be x, not quite softplus
    Mish: lambda act: nn.Mish(),
}
"""Activations that are one module."""


class Formula(Module):
    """What PyTorch has no module for, computed with its functions: an activation, a stage, a loss's predictions.

    Attributes
    ----------
    part : ActivationFunction, Stage or LossFunction
        A copy of it, from which `fastnn.from_torch` makes it anew.
    """

    def __init__(self, step: FormulaStep) -> None:
        super().__init__()
        self.part = copy.deepcopy(step.part)
        self.result = in_terms_of(set(_FUNCTIONS), step.open_result, step.part, FORMAT)
        self.wide = step.result.dtype == np.float64
        for name, array in step.arrays.items():
            self.register_buffer(name, torch.from_numpy(array.copy()))

    def forward(self, x: Any) -> Any:
        """What it makes of rows x."""
        x = x.double() if self.wide else x
        given = {"x": x, **{name: buffer.to(x.dtype) for name, buffer in self.named_buffers()}}

        def constant(number: Array) -> Any:
            dtype = torch.bool if number.dtype == np.bool_ else x.dtype
            return torch.as_tensor(number, dtype=dtype, device=x.device)

        return evaluate(self.result, _FUNCTIONS, given, constant)

    def extra_repr(self) -> str:
        """The settings."""
        return repr(self.part)


class Lookup(Module):
    """Vectors in the places of categories' numbers: fastnn's `Embedding`.

    Attributes
    ----------
    part : Embedding
        A copy of it, from which `fastnn.from_torch` makes it anew.
    table : Parameter (vectors, size)
    """

    def __init__(self, step: LookupStep) -> None:
        super().__init__()
        self.part = copy.deepcopy(step.part)
        self.table = nn.Parameter(torch.from_numpy(step.table.copy()), requires_grad=step.part.trainable)
        for name, array in (("counts", step.counts), ("firsts", step.firsts)):
            self.register_buffer(name, torch.from_numpy(array.copy()), persistent=False)

    def forward(self, x: Any) -> Any:
        """Rows x with vectors in them."""
        size = self.table.shape[1]
        places = size * len(self.counts)
        numbers = x[:, :places:size].double()
        known = (numbers > -0.5) & (numbers < self.counts - 0.5)
        rows = self.firsts + torch.where(known, numbers, 0.0).round().long()
        vectors = torch.where(known[:, :, None], self.table[rows], 0.0)
        return torch.cat([vectors.flatten(1), x[:, places:]], 1)

    def extra_repr(self) -> str:
        """The settings."""
        return repr(self.part)


class Offset(Module):
    """x - offset in float64, and then the network's dtype: the door of a network whose `Standardize` has an offset."""

    def __init__(self, offset: Array, dtype: Any) -> None:
        super().__init__()
        self.register_buffer("offset", torch.from_numpy(offset))
        self.dtype = dtype

    def forward(self, x: Any) -> Any:
        """The inputs as the first layer takes them."""
        return (x.double() - self.offset).to(self.dtype)


def to_torch(engine: Engine) -> Any:
    """The network of `engine`; see `NeuralNetwork.to_torch`."""
    steps = steps_of(engine, FORMAT)
    dtype = torch.float64 if steps.dtype == np.float64 else torch.float32
    modules: list[Any] = [] if steps.offset is None else [Offset(steps.offset, dtype)]
    formulas, matrices, lookups = steps.formulas, steps.matrices, steps.lookups
    for place, layer in enumerate(engine.layers):
        if place in matrices:
            modules.append(_linear(matrices[place], dtype))
        if place in formulas:
            modules.append(_module(formulas[place], dtype))
        elif place in lookups:
            modules.append(Lookup(lookups[place]))
        elif type(layer) is Dropout:
            modules.append(nn.Dropout(layer.rate))
    return nn.Sequential(*modules, *(Formula(step) for step in steps.predictions))


def _linear(matrix: Matrix, dtype: Any) -> Any:
    outs, ins = matrix.W.shape
    module = nn.Linear(ins, outs, dtype=dtype)
    _fill(module, {"weight": matrix.W, "bias": matrix.b})
    return module.requires_grad_(matrix.layer.trainable)


def _fill(module: Any, arrays: dict[str, Array]) -> None:
    with torch.no_grad():
        for name, array in arrays.items():
            getattr(module, name).copy_(torch.from_numpy(array))


def _module(step: FormulaStep, dtype: Any) -> Any:
    part = step.part
    made = _ACTIVATIONS.get(type(part))
    if made is not None:
        return made(part)
    if type(part) is BatchNorm:
        module = nn.BatchNorm1d(step.width, part.eps, part.momentum, dtype=dtype)
    elif type(part) is LayerNorm:
        module = nn.LayerNorm(step.width, part.eps, dtype=dtype)
    else:
        return Formula(step)
    assert isinstance(part, Stage)
    names = dict(zip(("weight", "bias", "running_mean", "running_var"), step.arrays.values()))
    _fill(module, names)
    return module.requires_grad_(part.trainable)


# --- reading --------------------------------------------------------------------------------------

EXPECTED = (
    "Sequential of Linear, Dropout, BatchNorm1d, LayerNorm, Flatten, Identity, the activations that fastnn has, and "
    "Softmax at the end"
)


def from_torch(module: Any, loss: LossFunction | None) -> tuple[list[BaseLayer], LossFunction]:
    """The layers and the loss of a module; see `fastnn.from_torch`."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"module is {shown(module)}; expected a torch.nn.Module{instance_hint(module)}")
    dtypes = {one.dtype for one in module.parameters()}
    dtype = np.dtype(np.float64 if dtypes and dtypes <= {torch.float64} else np.float32)
    assembly = Assembly(dtype)
    offset = None
    for name, one in _flat(module, "module"):
        try:
            if isinstance(one, Offset):
                offset = _array(one.offset)
            else:
                _take(assembly, one, dtype, offset)
        except (ValueError, TypeError) as error:
            raise type(error)(f"{name} is {one!r}: {error}") from error
    return assembly.finished(loss)


def _flat(module: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The modules within, in their order, with the text that leads to each."""
    if isinstance(module, nn.Sequential):
        for index, one in module.named_children():
            yield from _flat(one, f"{name}[{index}]" if index.isdigit() else f"{name}.{index}")
    else:
        yield name, module


def _array(tensor: Any) -> Array:
    array: Array = tensor.detach().cpu().to(torch.float64 if tensor.dtype == torch.float64 else torch.float32).numpy()
    return array


def _take(assembly: Assembly, module: Any, dtype: np.dtype[Any], offset: Array | None) -> None:
    """Add what a module is to the assembly."""
    cls = type(module)
    own = list(module.parameters(recurse=False))
    trainable = not own or any(one.requires_grad for one in own)
    if cls is nn.Linear:
        assembly.matrix(_array(module.weight), None if module.bias is None else _array(module.bias), trainable)
    elif cls in (nn.Identity, nn.Flatten):
        if cls is nn.Flatten and (module.start_dim, module.end_dim) not in ((1, -1), (1, 1)):
            raise ValueError("expected start_dim 1 and end_dim -1")
    elif cls is nn.Dropout:
        assembly.stage(Dropout(module.p), {})
    elif cls is nn.BatchNorm1d:
        _take_batch_norm(assembly, module, trainable)
    elif cls is nn.LayerNorm:
        if len(module.normalized_shape) != 1:
            raise ValueError("expected to normalise the last dimension alone")
        rows = {} if module.weight is None else {"gamma": _array(module.weight)}
        if module.bias is not None:
            rows["beta"] = _array(module.bias)
        rows = rows or {"gamma": np.ones(module.normalized_shape[0])}
        assembly.stage(LayerNorm(module.eps), rows, trainable)
    elif cls in (nn.Softmax, nn.LogSoftmax):
        if module.dim not in (1, -1, None):
            raise ValueError("expected dim=-1")
        assembly.end("softmax")
    elif isinstance(module, Lookup):
        part = copy.deepcopy(module.part)
        assembly.width = assembly.width or part.outs
        assembly.lookup(part, _array(module.table), trainable)
    elif isinstance(module, Formula):
        _take_formula(assembly, module, offset)
    else:
        assembly.activation(_activation(module))


def _take_batch_norm(assembly: Assembly, module: Any, trainable: bool) -> None:
    if module.running_mean is None:
        raise ValueError("it keeps no running mean; expected track_running_stats=True")
    if module.momentum is None:
        raise ValueError("its momentum is None, for the mean of all batches; expected a number")
    rows = {"running_mean": _array(module.running_mean), "running_var": _array(module.running_var)}
    if module.affine:
        rows.update(gamma=_array(module.weight), beta=_array(module.bias))
    assembly.stage(BatchNorm(module.momentum, module.eps), rows, trainable)


def _take_formula(assembly: Assembly, module: Formula, offset: Array | None) -> None:
    part = copy.deepcopy(module.part)
    if isinstance(part, ActivationFunction):
        assembly.activation(part)
        return
    if isinstance(part, LossFunction):
        assembly.predicts(part)
        return
    assert isinstance(part, Stage)
    rows = {name: _array(buffer) for name, buffer in module.named_buffers()}
    assembly.stage(part, rows, part.trainable)


def _activation(module: Any) -> ActivationFunction:
    """The activation that a module is."""
    cls = type(module)
    if cls is nn.LeakyReLU:
        return LeakyReLU(module.negative_slope)
    if cls is nn.ELU:
        return ELU(module.alpha)
    if cls is nn.Hardtanh and (module.min_val, module.max_val) != (-1.0, 1.0):
        raise ValueError("expected the range from -1 to 1")
    if cls is nn.Softplus and (module.beta != 1 or module.threshold < 20):
        raise ValueError("expected beta=1 and a threshold of at least 20")
    if cls is nn.GELU:
        kind: type[ActivationFunction] = GELU if module.approximate == "tanh" else ExactGELU
        gelu: ActivationFunction = kind()
        return gelu
    by_module: dict[Any, Any] = {
        nn.ReLU: ReLU, nn.ReLU6: ReLU6, nn.Hardtanh: HardTanh, nn.Sigmoid: Sigmoid, nn.Tanh: Tanh,
        nn.SELU: SELU, nn.SiLU: SiLU, nn.Softplus: Softplus, nn.Mish: Mish,
    }  # fmt: skip
    if cls not in by_module:
        raise TypeError(f"fastnn has no layer for it; expected a {EXPECTED}")
    act: ActivationFunction = by_module[cls]()
    return act
