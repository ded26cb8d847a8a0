"""interpolation.py: what its videos show, and what can go wrong."""

from __future__ import annotations

import math
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from network_helpers import complaint, exit_status
from PIL import Image

import generate
import interpolation
from training.data.images import Pixels
from training.generation.journey import slerp

pytest_plugins = ["network_fixtures"]


def run_script(network: Path, outdir: Path, *options: object) -> Path:
    """The one file or folder that interpolation.py writes with these options."""
    status = exit_status(interpolation.main, "--network", network, "--outdir", outdir, *options)
    assert status == 0
    (path,) = outdir.iterdir()
    return path


def frames_of(network: Path, outdir: Path, *options: object) -> list[Pixels]:
    """Frames as the network makes them, of `--format frames`."""
    folder = run_script(network, outdir, "--format", "frames", *options)
    return [np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]


def generated(network: Path, outdir: Path, seed: int, *options: object) -> Pixels:
    """The picture that generate.py makes."""
    options = ("--network", network, "--outdir", outdir, "--seeds", seed, *options)
    assert exit_status(generate.main, *options) == 0
    (path,) = outdir.glob(f"seed{seed:04d}*.png")
    return np.asarray(Image.open(path))


def decode(path: Path) -> list[Pixels]:
    """Frames of a video file, RGB."""
    reader = imageio_ffmpeg.read_frames(str(path))
    width, height = next(reader)["size"]
    return [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader]


def distance(a: Pixels, b: Pixels) -> float:
    """Mean difference of two pictures' pixels, of 255."""
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


def test_mp4_leads_from_class_to_class(tmp_path: Path, network: Path) -> None:
    options = ("--classes", "cat,2", "--seeds", 5, "--seconds", 0.5, "--fps", 12)
    path = run_script(network, tmp_path / "video", *options)
    assert path.name == "interpolation-cat-wild.mp4"
    frames = decode(path)
    assert len(frames) == 6 and frames[0].shape == (256, 256, 3)
    ends = [generated(network, tmp_path / name, 5, "--class", name) for name in ("cat", "wild")]
    for frame, end in zip((frames[0], frames[-1]), ends, strict=True):
        enlarged = end.repeat(16, axis=0).repeat(16, axis=1)[:, :, np.newaxis]
        assert distance(frame, enlarged) < 6
    assert distance(ends[0], ends[1]) > 30


def test_mp4_keeps_colours_and_puts_cells_side_by_side(tmp_path: Path, unconditional: Path) -> None:
    options = ("--mode", "latent", "--seeds", "3,5", "--fps", 2, "--seconds", 1, "--grid", "2x1")
    frames = decode(run_script(unconditional, tmp_path / "video", *options))
    assert frames[0].shape == (256, 1024, 3)
    # The second cell's seeds are raised by the span of three.
    cells = [generated(unconditional, tmp_path / f"{seed}", seed) for seed in (3, 6)]
    expected = np.concatenate(cells, axis=1).repeat(32, axis=0).repeat(32, axis=1)
    middles = np.s_[16::32, 16::32]  # chroma is coarser than pixels
    assert distance(frames[0][middles], expected[middles]) < 6


def test_loop_ends_one_step_before_its_beginning(tmp_path: Path, network: Path) -> None:
    options = ("--classes", "cat,dog", "--seconds", 1, "--fps", 10, "--easing", "linear")
    there = frames_of(network, tmp_path / "there", *options)
    loop = frames_of(network, tmp_path / "loop", *options, "--loop")
    assert (len(there), len(loop)) == (10, 20)
    assert distance(loop[0], there[0]) == 0 and distance(loop[10], there[-1]) < 1
    assert 0 < distance(loop[-1], loop[0]) < distance(there[-1], there[0]) / 3
    assert distance(loop[-1], loop[0]) == pytest.approx(distance(loop[1], loop[0]), abs=0.5)


@pytest.mark.parametrize("space", ["w", "z"])
@pytest.mark.parametrize("mode", ["class", "latent", "both"])
def test_stations_are_what_generate_makes(
    tmp_path: Path, network: Path, mode: str, space: str
) -> None:
    stations = {
        "class": ("cat,wild,dog", "4", [(4, "cat"), (4, "wild"), (4, "dog")]),
        "latent": ("dog", "4,9,1", [(4, "dog"), (9, "dog"), (1, "dog")]),
        "both": ("cat,wild,dog", "4,9,1", [(4, "cat"), (9, "wild"), (1, "dog")]),
    }
    classes, seeds, expected = stations[mode]
    way = ("--mode", mode, "--space", space, "--classes", classes, "--seeds", seeds)
    style = ("--trunc", 0.8, "--trunc-center", "class")
    # Two transitions are five frames: the third is the middle station.
    frames = frames_of(network, tmp_path / "v", *way, *style, "--seconds", 0.5, "--fps", 5)
    assert len(frames) == 5 and frames[0].shape == (16, 16)
    for index, (seed, name) in enumerate(expected):
        picture = generated(network, tmp_path / f"{index}", seed, "--class", name, *style)
        assert np.abs(frames[2 * index].astype(int) - picture).max() <= 1
    assert distance(frames[1], frames[0]) > 3 and distance(frames[1], frames[2]) > 3


def test_spaces_and_easings_differ_in_between(tmp_path: Path, network: Path) -> None:
    way = ("--classes", "cat,dog", "--seconds", 1, "--fps", 9)
    w = frames_of(network, tmp_path / "w", *way)
    z = frames_of(network, tmp_path / "z", *way, "--space", "z")
    linear = frames_of(network, tmp_path / "linear", *way, "--easing", "linear")
    assert distance(w[0], z[0]) < 1 and distance(w[-1], z[-1]) < 1
    assert distance(w[4], z[4]) > 1
    assert distance(w[4], linear[4]) < 1  # half-way is half-way
    assert distance(w[1], w[0]) < distance(linear[1], linear[0])


def test_centres_of_classes_mix(tmp_path: Path, network: Path) -> None:
    way = ("--classes", "cat,dog", "--seconds", 1, "--fps", 5, "--trunc", 0)
    center = ("--trunc-center", "class")
    w = frames_of(network, tmp_path / "w", *way, *center, "--seeds", 1)
    z = frames_of(network, tmp_path / "z", *way, *center, "--seeds", 2, "--space", "z")
    assert all(distance(a, b) < 1 for a, b in zip(w, z, strict=True))
    assert distance(w[0], w[-1]) > 10


def test_frames_do_not_depend_on_the_batch(tmp_path: Path, network: Path) -> None:
    way = ("--mode", "both", "--classes", "cat,dog", "--seconds", 1, "--fps", 4, "--grid", "3x2")
    options = (*way, "--noise-mode", "random")
    one = frames_of(network, tmp_path / "one", *options, "--batch", 1)
    many = frames_of(network, tmp_path / "many", *options, "--batch", 7)
    assert len(one) == len(many) == 4 and one[0].shape == (32, 48)
    assert all(np.array_equal(a, b) for a, b in zip(one, many, strict=True))


def test_classes_left_out_are_drawn_and_told(
    tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = set()
    for seed in range(6):
        outdir = tmp_path / f"{seed}"
        short = ("--seconds", 0.1, "--fps", 20, "--format", "gif", "--seeds", seed)
        path = run_script(network, outdir, *short)
        line, result = capsys.readouterr().out.splitlines()
        assert f"drawn by seed {seed}" in line and str(path) in result
        first, second = path.stem.split("-")[1:]
        assert first != second and f"{first} to {second}" in line
        told.add(path.stem)
    assert len(told) > 2
    latent = ("--mode", "latent", "--seconds", 0.1, "--fps", 20, "--format", "gif")
    path = run_script(network, tmp_path / "latent", *latent)
    assert path.stem.endswith("-seed0000-seed0001")
    assert path.stem.split("-")[1] in capsys.readouterr().out


@pytest.mark.parametrize("video_format", ["gif", "webp"])
def test_animated_pictures(tmp_path: Path, network: Path, video_format: str) -> None:
    options = ("--classes", "cat,dog", "--seconds", 0.5, "--fps", 10, "--format", video_format)
    path = run_script(network, tmp_path / "out", *options)
    with Image.open(path) as image:
        assert (image.size, getattr(image, "n_frames")) == ((256, 256), 5)  # noqa: B009
        assert image.info["loop"] == 0
        found = np.asarray(image.convert("L"))
    picture = generated(network, tmp_path / "cat", 0, "--class", "cat")
    assert distance(found, picture.repeat(16, axis=0).repeat(16, axis=1)) < 8


def test_wide_grids_are_enlarged_no_further_than_videos_go(tmp_path: Path, network: Path) -> None:
    options = ("--classes", "cat,dog", "--grid", "40x1", "--fps", 20, "--seconds", 0.1)
    frames = decode(run_script(network, tmp_path, *options))
    assert frames[0].shape == (192, 7680, 3)  # 12 times 16x640; 16 times were beyond 8192


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--classes", "dog"), "--classes: --mode class takes two or more, found 1"),
        (("--classes", "dog,cow"), "--class cow: no such class"),
        (("--seeds", "3-1"), "runs backwards"),
        (("--seeds", "0,1"), "--mode class keeps to one, found 2"),
        (("--mode", "latent", "--seeds", "4"), "--mode latent takes two or more, found 1"),
        (("--mode", "latent", "--classes", "dog,cat"), "stays in one class, found 2"),
        (("--mode", "both", "--classes", "dog,cat", "--seeds", "1"), "a seed for each class"),
        (("--seconds", "0"), "is not in the range"),
        (("--seconds", "0.01"), "come to 0 frames"),
        (("--seconds", "nan"), "finite number"),
        (("--fps", "60", "--format", "gif"), "gif has at most 50"),
        (("--grid", "0x1"), "takes 256 or 320x256"),
        (("--grid", "999x1"), "15984x16 pixels"),
        (("--strip", "1"), "1 is not in the range"),
        (("--strip", "3000", "--grid", "2x1"), "3000 steps of 2 pictures each are too many"),
    ],
)
def test_wrong_options(
    tmp_path: Path,
    network: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    said: str,
) -> None:
    outdir = tmp_path / "out"
    line = complaint(capsys, interpolation.main, "--network", network, "--outdir", outdir, *options)
    assert said in line and not outdir.exists()


def test_wrong_networks_and_places(
    tmp_path: Path,
    network: Path,
    unconditional: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def said(*options: object) -> str:
        return complaint(capsys, interpolation.main, *options)

    outdir = ("--outdir", tmp_path / "out")
    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes(network.read_bytes()[:-1])
    assert "not a readable safetensors file" in said("--network", truncated, *outdir)
    assert "no such file" in said("--network", tmp_path / "none", *outdir)
    assert "the network has none; use --mode latent" in said("--network", unconditional, *outdir)
    assert "Missing option '--outdir'" in said("--network", network)
    folder = ("--classes", "cat,dog", "--format", "frames", "--seconds", 0.1)
    run_script(network, tmp_path / "again", *folder)
    assert "there already" in said("--network", network, "--outdir", tmp_path / "again", *folder)
    for name in ("mp4", "gif", "webp", "frames"):
        onto_file = ("--network", network, "--outdir", truncated, "--format", name)
        assert "cannot be written" in said(*onto_file)
    assert not (tmp_path / "out").exists()


def test_slerp_keeps_to_the_circle() -> None:
    a, b = torch.eye(2)
    t = torch.linspace(0, 1, 7)[:, None]
    points = slerp(a.expand(7, 2), b.expand(7, 2), t)
    angles = torch.atan2(points[:, 1], points[:, 0])
    assert torch.allclose(points.norm(dim=1), torch.ones(7))
    assert torch.allclose(angles, t[:, 0] * math.pi / 2, atol=1e-6)
    assert torch.allclose(slerp(points, points, t), points, atol=1e-6)
