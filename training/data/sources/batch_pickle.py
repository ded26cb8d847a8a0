"""CIFAR's pickled batches, read as data: nothing that they name is imported or run."""

from __future__ import annotations

import pickle
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from dnnlib import UserError


def read_batch(file: IO[bytes], name: str) -> dict[str, Any]:
    """The dict that a batch or its metadata is: texts as `bytes` or `str`, arrays as uint8.

    Raises `UserError`, with `name` for the file, for a pickle that names anything but NumPy arrays,
    is truncated or is something else.
    """
    try:
        # Python 2 wrote these files: its strings hold pixels as well as texts.
        content = _Unpickler(file, encoding="bytes").load()
    except _RefusedError as error:
        raise UserError(
            f"{name}: refused, it asks for {error}, which no CIFAR batch needs; nothing in it was "
            "run; get the file from its publishers"
        ) from None
    except UserError:
        raise
    # The unpickler raises whatever a damaged file makes it stumble over.
    except (Exception, MemoryError) as error:
        raise UserError(
            f"{name}: is no readable batch ({str(error) or type(error).__name__:.80}); get the "
            "file again"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{name}: must hold a dict, found a {type(content).__name__}")
    return {
        plain_text(key): value.pixels(name) if isinstance(value, _Array) else value
        for key, value in content.items()
    }


def plain_text(value: object) -> str:
    """A text of Python 2 or 3 as `str`; anything else in Python's notation."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


class _RefusedError(Exception):
    pass


class _Array:
    """Stands for a NumPy array: keeps what it was to be made from."""

    __slots__ = ("_state",)

    def __setstate__(self, state: Any) -> None:
        self._state = state

    def pixels(self, name: str) -> NDArray[np.uint8]:
        """The array, uint8 `[N, D]`. Raises `UserError` where it is none."""
        try:
            _, shape, dtype, fortran_order, raw = self._state
            if not isinstance(dtype, _Dtype) or dtype.code not in {b"u1", "u1"}:
                raise ValueError("its elements are no bytes")
            flat: NDArray[np.uint8] = np.frombuffer(raw, np.uint8)
            return flat.reshape(shape, order="F" if fortran_order else "C")
        except (AttributeError, TypeError, ValueError) as error:
            raise UserError(
                f"{name}: holds an array that is none of pixels ({error}); get the file again"
            ) from error


class _Dtype:
    """Stands for a NumPy type: keeps its code."""

    __slots__ = ("code",)

    def __init__(self, code: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """The rest is the same for every type of one byte."""


class _MakeArray:
    __slots__ = ()

    def __call__(self, *arguments: object) -> _Array:
        return _Array()


class _MakeDtype:
    __slots__ = ()

    def __call__(self, code: object, *arguments: object) -> _Dtype:
        return _Dtype(code)


class _Encode:
    """How Python 3 writes bytes for Python 2."""

    __slots__ = ()

    def __call__(self, text: object, encoding: object) -> bytes:
        return str(text).encode("latin1")


# Instances without attributes: a pickle can call them, but not alter them.
_KNOWN: dict[str, object] = {
    "numpy.core.multiarray._reconstruct": _MakeArray(),
    "numpy._core.multiarray._reconstruct": _MakeArray(),
    "numpy.ndarray": "ndarray",
    "numpy.dtype": _MakeDtype(),
    "_codecs.encode": _Encode(),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        full = f"{module}.{name}"
        if full not in _KNOWN:
            raise _RefusedError(f"{full!r:.80}")
        return _KNOWN[full]
