"""Pickles read as data: nothing that they name is imported, and nothing that they ask for is run.

A small machine of our own steps through the instructions. It knows those that published networks
need, calls only the functions of one short table (all of them below), and keeps every other object
as a `Record` of names and values.
"""

from __future__ import annotations

import math
import pickletools
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dnnlib import UserError
from dnnlib.files import read_plain

MAX_STEPS = 2_000_000  # instructions of a file; the largest published network has a tenth of that
MAX_STORAGE_STEPS = 1000
_MAGIC = 0x1950A86A20F9469CFC6C  # the number that a torch storage's own pickles begin with


class RefusedError(ValueError):
    """The file asks for something that no published network needs; the message names it."""


@dataclass(eq=False)
class Record:
    """An object of the file, as inert data: its class's name and what it was to be made from."""

    name: str
    args: tuple[object, ...] = ()
    state: object = None
    items: dict[object, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Global:
    """A name of the file: how it is shown, and what a call of it gives here (None: no calls)."""

    name: str
    call: Callable[..., object] | None = None


@dataclass(frozen=True, eq=False)
class Storage:
    """The numbers that tensors are views of."""

    elements: Tensor  # 1-D, on the CPU


Find = Callable[[str, str], Global]


def read_pickle(path: Path) -> object:
    """What a pickle file holds: plain values, dicts, lists, CPU tensors and `Record`s.

    Raises `UserError` naming what the file asks for, where no published network needs that, and
    where it is damaged, truncated or no pickle.
    """
    try:
        # In memory, where a length that goes beyond the end costs nothing.
        return Machine(BytesIO(read_plain(path)), _find_allowed, MAX_STEPS).run()
    except RefusedError as error:
        raise UserError(
            f"{path}: refused, it {error}, which no published network needs; nothing in it was "
            "run; get the file from its publishers"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); check it") from None
    except (ValueError, TypeError, LookupError, OverflowError, RuntimeError, struct.error) as error:
        raise UserError(
            f"{path}: not a readable pickle, but truncated, damaged or of another kind "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__:.80})"
        ) from None


class Machine:
    """The instructions of one pickle, from `file`'s position on; `run` leaves it behind them."""

    def __init__(self, file: BytesIO, find: Find, max_steps: int, persistent: bool = False) -> None:
        self.file, self.find, self.max_steps, self.persistent = file, find, max_steps, persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> object:
        """The object that is described. Raises `RefusedError`, `ValueError` and so on."""
        for step, (opcode, argument, _) in enumerate(pickletools.genops(self.file)):
            if step >= self.max_steps:
                raise RefusedError(f"takes more than {self.max_steps} steps")
            name = opcode.name
            if name == "STOP":
                return self.stack.pop()
            if name in _LITERALS:
                if isinstance(argument, int) and argument.bit_length() > 128:
                    raise ValueError("a number without end")
                self.stack.append(argument)
            elif name in _FRESH:
                self.stack.append(_FRESH[name]())
            elif not (self._memo(name, argument) or self._collect(name) or self._make(name)):
                if name not in _GLOBALS:
                    raise RefusedError(f"uses the pickle instruction {name}")
                self._global(name, argument)
        raise ValueError("no end")

    def _memo(self, name: str, argument: Any) -> bool:
        if name in {"BINPUT", "LONG_BINPUT"}:
            self.memo[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in {"BINGET", "LONG_BINGET"}:
            self.stack.append(self.memo[argument])
        else:
            return name in {"PROTO", "FRAME"}
        return True

    def _collect(self, name: str) -> bool:
        """Instructions of containers."""
        if name == "MARK":
            self.marks.append(len(self.stack))
        elif name == "TUPLE":
            self.stack.append(tuple(self._above_mark()))
        elif name in _TUPLES:
            parts = self._top(_TUPLES[name])
            self.stack.append(tuple(parts))
        elif name in {"APPEND", "APPENDS"}:
            values = self._top(1) if name == "APPEND" else self._above_mark()
            _expect(self.stack[-1], list).extend(values)
        elif name in {"SETITEM", "SETITEMS"}:
            values = self._top(2) if name == "SETITEM" else self._above_mark()
            _fill(self.stack[-1], values)
        elif name == "ADDITEMS":
            values = self._above_mark()
            _expect(self.stack[-1], set).update(_plain(value) for value in values)
        else:
            return False
        return True

    def _make(self, name: str) -> bool:
        """Instructions that would run code in an ordinary unpickler."""
        if name in {"REDUCE", "NEWOBJ"}:
            maker, arguments = self._top(2)
            if not isinstance(maker, Global) or maker.call is None:
                shown = maker.name if isinstance(maker, Global) else type(maker).__name__
                raise RefusedError(f"calls {shown}")
            self.stack.append(maker.call(*_expect(arguments, tuple)))
        elif name == "BUILD":
            target, state = self._top(2)
            if isinstance(target, Record):
                target.state = state
            elif not isinstance(target, dict):  # a dict's attributes are of no use
                raise RefusedError(f"sets the state of a {type(target).__name__}")
            self.stack.append(target)
        elif name == "BINPERSID" and self.persistent:
            self.stack.append(Record("persistent", _expect(self.stack.pop(), tuple)))
        else:
            return False
        return True

    def _global(self, name: str, argument: Any) -> None:
        if name == "GLOBAL":
            module, _, attribute = argument.partition(" ")
        else:
            module, attribute = (_expect(part, str) for part in self._top(2))
        self.stack.append(self.find(module, attribute))

    def _top(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise ValueError("an empty stack")
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def _above_mark(self) -> list[Any]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values


_LITERALS = {
    *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
}
_FRESH: Mapping[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_SET": set,
    "EMPTY_TUPLE": tuple,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_GLOBALS = {"GLOBAL", "STACK_GLOBAL"}


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"a {type(value).__name__} where a {kind.__name__} belongs")
    return value


def _plain(value: object) -> object:
    """`value`, where it is cheap to hash: tuples can be nested without end."""
    if value is not None and not isinstance(value, str | int | float | bytes):
        raise TypeError(f"a {type(value).__name__} as a key")
    return value


def _fill(target: object, values: list[object]) -> None:
    items = target.items if isinstance(target, Record) else target
    pairs = zip(values[::2], values[1::2], strict=True)
    _expect(items, dict).update({_plain(key): value for key, value in pairs})


# The names that a file may use. Everything they do is here.


def _ordered_dict(pairs: object = ()) -> dict[object, object]:
    if not isinstance(pairs, list | tuple):
        raise TypeError("an OrderedDict of something else than pairs")
    result: dict[object, object] = {}
    for pair in pairs:
        _fill(result, list(_expect(pair, list | tuple)))  # type: ignore[arg-type]
    return result


def _set(values: object = ()) -> set[object]:
    if not isinstance(values, list | tuple):
        raise TypeError("a set of something else than values")
    return {_plain(value) for value in values}


def _persistent_object(meta: object) -> Record:
    """A network or layer: its class's name and state. The source text beside them is dropped."""
    fields = meta.items if isinstance(meta, Record) else meta
    state = _expect(fields, dict).get("state")
    return Record(_expect(fields["class_name"], str), state=state)  # type: ignore[index]


def _parameter(tensor: object, requires_grad: object = True, hooks: object = None) -> Tensor:
    result: Tensor = _expect(tensor, Tensor)
    return result


def rebuild_tensor(
    storage: object,
    offset: object,
    size: object,
    stride: object,
    requires_grad: object = False,
    hooks: object = None,
    metadata: object = None,
) -> Tensor:
    """A view of a storage that stays inside it."""
    elements: Tensor = _expect(storage, Storage).elements
    numbers = [offset, *_expect(size, tuple), *_expect(stride, tuple)]
    if any(type(number) is not int or not 0 <= number < 2**40 for number in numbers):
        raise ValueError("a tensor with a size that is no number")
    sizes: tuple[int, ...] = _expect(size, tuple)
    strides: tuple[int, ...] = _expect(stride, tuple)
    first: int = _expect(offset, int)
    steps = zip(sizes, strides, strict=True)
    last = first + sum((length - 1) * step for length, step in steps)
    inside = last < len(elements) and math.prod(sizes) <= len(elements)
    if len(sizes) > 8 or not (inside or 0 in sizes):
        raise ValueError("a tensor that reaches beyond its storage")
    return elements.as_strided(sizes, strides, first)


STORAGE_TYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def _storage(data: object) -> Storage:
    """A storage from what torch writes for one: five pickles, the length, the elements."""
    file = BytesIO(_expect(data, bytes))
    parts = [Machine(file, _find_storage, MAX_STORAGE_STEPS, True).run() for _ in range(5)]
    if parts[0] != _MAGIC:
        raise ValueError("a storage that torch did not write")
    _, kind, _, _, numel, view = _expect(parts[3], Record).args
    dtype = STORAGE_TYPES[_expect(kind, Global).name.removeprefix("torch.")]
    (length,) = struct.unpack("<q", file.read(8))
    raw = bytearray(file.read())
    if view is not None or length != numel or len(raw) != length * dtype.itemsize:
        raise ValueError("a storage of another length than it says")
    return Storage(torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype))


def _find_storage(module: str, name: str) -> Global:
    if module != "torch" or name not in STORAGE_TYPES:
        raise RefusedError(f"asks for {f'{module}.{name}'!r:.80}")
    return Global(f"torch.{name}")


def _scalar(dtype: object, data: object) -> object:
    """A numpy number, as Python's own."""
    code = _expect(dtype, Record).args[0]
    if code not in {"f4", "f8", "i4", "i8", "u1", "b1"}:
        raise ValueError("a number of a strange type")
    return np.frombuffer(_expect(data, bytes), dtype=f"<{code}").item()


_CALLS: Mapping[str, Callable[..., object]] = {
    "collections.OrderedDict": _ordered_dict,
    "builtins.set": _set,
    "torch_utils.persistence._reconstruct_persistent_obj": _persistent_object,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_tensor_v2": rebuild_tensor,
    "torch.storage._load_from_bytes": _storage,
    "torch.Size": lambda sizes=(): tuple(_expect(sizes, list | tuple)),  # type: ignore[arg-type]
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
}
# Kept as records, whatever they are.
_INERT = re.compile(
    r"numpy\.(dtype|ndarray|_?core\.multiarray\._reconstruct)|torch\.(device|u?int\d+|b?float\d+"
    r"|bool)|dnnlib(\.util)?\.EasyDict|torch\.nn\.modules\.[a-z]+\.[A-Z]\w*"
    r"|training\.[a-z_]\w*\.[A-Z]\w*",
    re.ASCII,
)


def _find_allowed(module: str, name: str) -> Global:
    """What a name means here. Raises `RefusedError` for all that are not in the tables above."""
    full = f"{module}.{name}"
    if "." in name or not (full in _CALLS or _INERT.fullmatch(full)):
        raise RefusedError(f"asks for {full!r:.80}")
    return Global(full, _CALLS.get(full, lambda *args: Record(full, args)))
