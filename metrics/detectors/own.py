"""Detectors that users write: a class in a Python file of their own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch

from dnnlib.errors import UserError
from metrics.detectors.base import Detector

_MEMBERS = ("name", "digest", "resize", "precision", "num_features", "__call__")


def load_own(path: Path, class_name: str, device: torch.device) -> Detector:
    """`class_name(device)` of the Python file `path`, which is run.

    Raises `UserError` where there is no such file or class, or where the object is no `Detector`.
    What goes wrong inside the file is raised as it is: its author needs the traceback.
    """
    option = f"--detector {path}:{class_name}"
    if not path.is_file():
        raise UserError(f"{option}: there is no file {path}")
    name = f"detector {path.resolve()}"  # that no import statement can spell
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    make = getattr(module, class_name, None)
    if not isinstance(make, type):
        raise UserError(f"{option}: there is no class {class_name} in {path}")
    detector: object = make(device)
    missing = [name for name in _MEMBERS if not hasattr(detector, name)]
    if not isinstance(detector, Detector):
        raise UserError(f"{option}: a detector has {', '.join(missing)} too; see docs/metrics.md")
    return detector
