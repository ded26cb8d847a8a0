"""The files and folders that the tables name: few of them are what they seem to be."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from data_helpers import png, write_folder, write_zip
from network_helpers import CLASSES, exit_status, tiny_config, write_network

import train
from bad_inputs.archives import write_archives
from bad_inputs.networks import write_networks

SHORT_RUN = ("--cfg", "tiny", "--device", "cpu", "--batch", 8, "--kimg", 0.008, "--workers", 0)


def make_places(folder: Path) -> Path:
    """Fill `folder`; nothing may write to it afterwards."""
    names = [f"{name}/{index}.png" for name in CLASSES for index in range(2)]
    good = {name: png(seed, 16, 16, 1) for seed, name in enumerate(names)}
    write_zip(folder / "good.zip", good)
    write_folder(folder / "good", good)
    write_zip(
        folder / "ten.zip", {f"{i}/{j}.png": png(i, 16, 16, 1) for i in range(10) for j in (0, 1)}
    )
    write_zip(folder / "bare.zip", {f"{i}.png": png(i, 16, 16, 1) for i in range(4)})
    write_zip(folder / "rgb.zip", {f"{i}.png": png(i, 16, 16, 3) for i in range(4)})
    write_zip(
        folder / "small.zip",
        {f"{name}/{i}.png": png(i, 8, 8, 1) for name in CLASSES for i in range(2)},
    )
    write_network(folder / "net.safetensors", tiny_config(data=str(folder / "good.zip")))
    write_network(folder / "lost.safetensors", tiny_config(data=str(folder / "no-such-data.zip")))
    write_network(folder / "plain.safetensors", tiny_config((), num_channels=3, size=(16, 8)))
    write_network(folder / "rgba.safetensors", tiny_config(num_channels=4))
    write_network(folder / "two.safetensors", tiny_config(num_channels=2))
    (folder / "text.txt").write_text("Dear diary\n")
    (folder / "picture.png").write_bytes(png(1, 16, 16, 3))
    (folder / "empty-folder").mkdir()
    write_archives(folder)
    write_networks(folder)
    _write_runs(folder)
    _write_traps(folder)
    return folder


def _write_runs(folder: Path) -> None:
    """A finished run, and runs that lost a part."""
    runs = folder / "runs"
    assert exit_status(train.main, "--data", folder / "good.zip", "--outdir", runs, *SHORT_RUN) == 0
    (run,) = runs.iterdir()
    run.rename(folder / "run")
    runs.rmdir()
    for name, file in (
        ("run-bad-options", "training_options.json"),
        ("run-bad-state", "training-state.pt"),
    ):
        copy = shutil.copytree(folder / "run", folder / name)
        (copy / file).write_bytes((copy / file).read_bytes()[:100])
    early = folder / "run-early"
    early.mkdir()
    shutil.copy(folder / "run" / "training_options.json", early)


def _write_traps(folder: Path) -> None:
    """Links that lead in circles, a pipe nobody writes to, files larger than any memory."""
    (folder / "circle.zip").symlink_to("circle.zip")
    (folder / "dangling.safetensors").symlink_to("nowhere")
    (folder / "around").mkdir()
    (folder / "around" / "again").symlink_to("..", target_is_directory=True)
    (folder / "around-only").mkdir()
    (folder / "around-only" / "again").symlink_to(".", target_is_directory=True)
    os.mkfifo(folder / "pipe")
    for name in ("huge.pkl", "huge.png", "huge.csv", "huge.safetensors", "huge.npy", "huge.zip"):
        with (folder / name).open("wb") as file:
            file.truncate(2**43)
