"""A user's own detector is one small class in a file of their own: the guide's example works."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from detector_helpers import noise

from dnnlib.errors import UserError
from metrics.detectors import get_detector

CPU = torch.device("cpu")
FUTURE = """
from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass
class Settings:
    name: str = "NAME"
"""
GUIDE = Path(__file__).parent.parent / "docs" / "metrics.md"


def example():
    """The Python code of the guide's section about own detectors."""
    section = GUIDE.read_text(encoding="utf-8").partition("### Your own")[2]
    return re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]


def test_the_guide_s_example(tmp_path):
    path = tmp_path / "my_detector.py"
    path.write_text(example(), encoding="utf-8")
    detector = get_detector(f"{path}:Thumbnails", CPU)
    images = noise(5, 3, 40, 24)
    features = detector(images)
    assert (features.shape, features.dtype) == ((5, detector.num_features), torch.float32)
    torch.testing.assert_close(torch.cat([detector(images[:2]), detector(images[2:])]), features)
    gray = noise(2, 1, 32, 32)
    torch.testing.assert_close(detector(gray), detector(gray.repeat(1, 3, 1, 1)))
    assert len(detector.digest) == 64 and detector.precision == "fp32"


def test_a_file_may_use_dataclasses_with_postponed_annotations(tmp_path):
    for folder in ("a", "b"):
        path = tmp_path / folder / "json.py"  # hides no module of that name
        path.parent.mkdir()
        code = example().replace("import hashlib", FUTURE, 1)
        code = code.replace('"thumbnails"', "Settings().name") + "\n"
        path.write_text(code.replace('"NAME"', f'"{folder}"'), encoding="utf-8")
        assert get_detector(f"{path}:Thumbnails", CPU).name == folder
    assert sys.modules["json"] is json


def said(name):
    with pytest.raises(UserError) as caught:
        get_detector(name, CPU)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_detector_is_told(tmp_path):
    path = tmp_path / "mine.py"
    assert f"there is no file {path}" in said(f"{path}:Mine")
    path.write_text("number = 3\nclass Mine:\n    name = 'mine'\n    def __init__(self, d): pass\n")
    assert f"there is no class Other in {path}" in said(f"{path}:Other")
    assert "there is no class number" in said(f"{path}:number")
    missing = "a detector has digest, resize, precision, num_features, __call__ too; see docs/"
    assert missing in said(f"{path}:Mine")
    assert "there is no class" in said(f"{path}:")


def test_mistakes_in_the_file_are_shown_as_they_are(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import torch\nclass Mine:\n    def __init__(self, device): self.x = torch.nope"
    )
    with pytest.raises(AttributeError, match="nope"):
        get_detector(f"{path}:Mine", CPU)
