"""Images as D and C see them, and the command that draws them."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from data_helpers import png, write_folder
from network_helpers import complaint, exit_status
from PIL import Image
from training_helpers import small_config

from training.config import TrainingConfig
from training.data.dataset import DataConfig, ImageDataset, open_dataset
from training.study import drawing
from training.study.__main__ import main
from training.study.stages import Stage, planned_stages
from training.study.views import COLUMNS, noisy_sheet, pick_images

CHARTS = {"sees", "horizons", "schedules", "timesteps", "condition", "overview"}


def folder(path: Path, size: int = 8, per_class: int = 3, channels: int = 3) -> Path:
    """Two classes of random pictures."""
    files = {
        f"{name}/{number}.png": png(10 * place + number, size, size, channels)
        for place, name in enumerate(("cat", "dog"))
        for number in range(per_class)
    }
    return write_folder(path, files)


def write_run(path: Path, config: TrainingConfig, tick: dict[str, float]) -> Path:
    """A run folder after its first tick."""
    path.mkdir()
    (path / "training_options.json").write_text(config.to_json(), encoding="utf-8")
    (path / "stats.jsonl").write_text(json.dumps(tick) + "\n", encoding="utf-8")
    return path


def dataset(path: Path) -> ImageDataset:
    return open_dataset(DataConfig(path=str(path)))


def test_images_are_of_different_classes_first_and_repeat_at_last(tmp_path: Path) -> None:
    data = dataset(folder(tmp_path / "data"))
    everything = data.load_images(1)
    picked = pick_images(data, 8, seed=3)
    indices = [int((everything == image).flatten(1).all(dim=1).nonzero()) for image in picked]
    assert data.labels[indices].tolist()[0:6:2] == [data.labels[indices[0]]] * 3
    assert len(set(data.labels[indices[:2]].tolist())) == 2
    assert len(set(indices)) == 6 and indices[6:] == indices[:2]
    assert torch.equal(pick_images(data, 8, seed=3), picked)
    assert not torch.equal(pick_images(data, 8, seed=4), picked)


def test_of_large_images_every_other_pixel_is_shown(tmp_path: Path) -> None:
    data = dataset(folder(tmp_path / "data", size=256, per_class=1))
    picked = pick_images(data, 2, seed=0)
    assert picked.shape == (2, 3, 128, 128)
    full = data.load_images(1)[:, :, ::2, ::2]
    assert any(torch.equal(picked[0], image) for image in full)


def test_a_row_runs_from_the_clean_image_to_the_noise_at_T() -> None:
    torch.manual_seed(0)
    config = small_config(noise_sd=0.2, t_max=500)
    stage = Stage("end", {"D": 500, "C": 20}, None, None)
    grey = torch.full([1, 1, 64, 64], 128, dtype=torch.uint8)
    sheet = torch.from_numpy(noisy_sheet(grey, "D", [stage], config)).float() / 127.5 - 1
    row = sheet[:, :, 0].reshape(64, COLUMNS, 64).transpose(0, 1)
    assert row[0].abs().max() < 0.01
    betas = torch.linspace(1e-4, 2e-2, 500)
    expected = [
        0.2 * float((1 - (1 - betas[: round(t)]).prod()).sqrt())
        for t in torch.linspace(0, 500, COLUMNS)[1:].tolist()
    ]
    assert [float(each.std()) for each in row[1:]] == pytest.approx(expected, rel=0.04)


def test_local_noise_runs_from_the_least_noisy_class_to_the_noisiest() -> None:
    torch.manual_seed(0)
    config = small_config(num_classes=3, noise_model="local", noise_sd=0.1, noise_sd_c=0.3)
    stage = Stage("end", {}, (0.05, 0.25), None)
    grey = torch.full([1, 1, 64, 64], 128, dtype=torch.uint8)
    for network, deviations in (("D", (0.05, 0.05, 0.15, 0.15, 0.25, 0.25)), ("C", [0.0] * 6)):
        sheet = torch.from_numpy(noisy_sheet(grey, network, [stage], config)).float() / 127.5
        found = [float(each.std()) for each in sheet[:, :, 0].split(64, dim=1)]
        alone = 0.1 if network == "D" else 0.3
        expected = [(alone**2 + deviation**2) ** 0.5 for deviation in deviations]
        assert found[0] == 0 and len(found) == COLUMNS
        assert found[1:] == pytest.approx(expected, rel=0.05)


def test_the_sheet_has_a_row_for_each_image_of_each_stage() -> None:
    images = torch.randint(256, [2, 3, 32, 32], dtype=torch.uint8)
    config = small_config(noise_sd=0.0)
    sheet = noisy_sheet(images, "D", planned_stages(config), config)
    assert sheet.shape == (3 * 2 * 32, COLUMNS * 32, 3)
    assert np.array_equal(sheet[:32, :32], images[0].permute(1, 2, 0).numpy())
    assert np.array_equal(sheet[-32:, :32], images[1].permute(1, 2, 0).numpy())


@pytest.mark.parametrize(
    ("network", "aug_c", "changed"), [("D", False, 1), ("C", False, 0), ("C", True, 1)]
)
def test_images_are_augmented_as_each_network_is_to_see_them(
    network: str, aug_c: bool, changed: bool
) -> None:
    torch.manual_seed(0)
    images = torch.randint(256, [4, 1, 32, 32], dtype=torch.uint8)
    config = small_config(aug="ada", aug_c=aug_c, noise_sd=0.0, ada_maxp=1.0)
    sheet = torch.from_numpy(noisy_sheet(images, network, planned_stages(config), config))
    shown = sheet.reshape(3, 4, 32, COLUMNS, 32)[:, :, :, 0]  # at t = 0
    assert torch.equal(shown[0], images[:, 0])  # p = 0
    assert torch.equal(shown[2], images[:, 0]) != bool(changed)


def test_the_command_draws_everything_of_a_data_set(tmp_path: Path) -> None:
    data = folder(tmp_path / "data")
    out = tmp_path / "out"
    options = ("--cfg", "tiny", "--t_max", 50, "--aug", "ada", "--noise-sd-c", 0)
    assert exit_status(main, "--data", data, "--out", out, *options) == 0
    pictures = {path.stem: np.asarray(Image.open(path)) for path in out.iterdir()}
    assert set(pictures) == CHARTS
    assert all(picture.shape[1:] == (1200, 3) for picture in pictures.values())
    overview = pictures.pop("overview")
    assert len(overview) == sum(map(len, pictures.values()))
    assert np.array_equal(overview[: len(pictures["sees"])], pictures["sees"])


def test_the_command_draws_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = folder(tmp_path / "data", per_class=1, channels=1)
    tick = {"kimg": 4, "T_D": 33, "p_D": 0.1, "Signs/real": 0.5}
    run_dir = write_run(tmp_path / "run", small_config(num_classes=0), tick)
    out = tmp_path / "out"
    arguments = ("--data", data, "--images", 1, "--format", "webp", "--out", out)
    assert exit_status(main, "--run", run_dir, *arguments) == 0
    assert {path.name for path in out.iterdir()} == {
        f"{name}.webp" for name in (CHARTS - {"condition"}) | {"path"}
    }
    assert "D 4 kimg          33" in capsys.readouterr().out


def test_the_command_draws_local_noise_the_same_each_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = folder(tmp_path / "data", per_class=1)
    tick = {"kimg": 4, "local_sd_min_D": 0.02, "local_sd_mean_D": 0.04, "local_sd_max_D": 0.07}
    run_dir = write_run(tmp_path / "run", small_config(num_classes=2, noise_model="local"), tick)
    first, second = tmp_path / "first", tmp_path / "second"
    for out in (first, second):
        assert exit_status(main, "--run", run_dir, "--data", data, "--out", out) == 0
    assert {path.stem for path in first.iterdir()} == {"sees", "path", "overview"}
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()
    assert "σ of classes 0.02 to 0.07" in capsys.readouterr().out


def test_noise_in_features_is_not_shown_in_images(tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--cfg", "tiny", "--noise-at", "features", "--noise-d", "no")
    assert exit_status(main, "--data", folder(tmp_path / "data"), "--out", out, *options) == 0
    assert {path.stem for path in out.iterdir()} == CHARTS - {"sees", "condition"}


def test_fading_alone_is_drawn_too(tmp_path: Path) -> None:
    data = folder(tmp_path / "data", per_class=1)
    options = ("--cfg", "tiny", "--noise-sd", 0, "--classifier", "no", "--t-max", 30)
    assert exit_status(main, "--data", data, "--out", tmp_path / "out", *options) == 0


def test_what_was_asked_wrongly_is_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = folder(tmp_path / "data"), tmp_path / "out"

    def told(*arguments: object) -> str:
        return complaint(capsys, main, "--out", out, *arguments)

    assert "--data: name a data set" in told()
    assert "--t-max: --run has its settings" in told("--run", tmp_path, "--t_max", 5)
    assert f"--run {tmp_path}: it has no stats.jsonl" in told("--run", tmp_path)
    assert "neither D nor C sees noise" in told("--data", data, "--noise-model", "none")
    assert "no picture" in told("--data", data, "--noise-model", "local", "--noise-at", "features")
    assert "--t-max must be at least t_min" in told("--data", data, "--t-max", 5)
    assert "no-such" in told("--data", tmp_path / "no-such")
    assert not out.exists()


def test_without_matplotlib_a_line_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> ModuleType:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(drawing, "import_module", missing)
    message = complaint(capsys, main, "--data", folder(tmp_path / "data"), "--out", tmp_path / "o")
    assert "pip install matplotlib" in message
    assert not (tmp_path / "o").exists()
