"""python -m benchmarks.data, at a tiny size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.data import main, picture
from dnnlib.cli import run


def test_every_row_is_measured_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "data.json"
    args = ["--images", "8", "--repeats", "1", "--seconds", "0.01", "--device", "cpu"]
    with pytest.raises(SystemExit) as ended:
        run(main, [*args, "--work", str(tmp_path / "work"), "--out", str(out)])
    assert ended.value.code == 0
    (record,) = json.loads(out.read_text())["data"]
    rows = record["images_per_second"]
    assert [name.partition(",")[0] for name in rows] == [
        *["conversion"] * 2,
        *["random reads"] * 2,
        *["loader 32x32"] * 4,
        *["loader 256x256"] * 4,
        *["PNG 64x64"] * 4,
        *["PNG 256x256"] * 4,
    ]
    assert all(rate > 0 for rate in rows.values()) and record["images"] == 8
    assert len(capsys.readouterr().out.splitlines()) == len(rows) + 1
    sizes = record["bytes_per_image"]
    assert sizes["PNG 64x64, level 9"] < sizes["PNG 64x64, level 1"] < 64 * 64 * 3
    assert sizes["PNG 64x64, run lengths"] < 1.1 * sizes["PNG 64x64, level 9"]
    assert not list((tmp_path / "work").iterdir())


def test_pictures_are_neither_noise_nor_flat() -> None:
    image = picture(np.random.default_rng(0), 64).astype(float)
    steps = np.abs(np.diff(image, axis=1)).mean()
    assert image.shape == (64, 64, 3) and 1 < steps < image.std() / 2
