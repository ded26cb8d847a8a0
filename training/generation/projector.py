"""A picture file to the style that makes it: what projector.py does."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from dnnlib import Config, UserError
from dnnlib.files import read_plain, sha256_file
from dnnlib.logs import Progress, logger, track
from torch_utils.world import choose_device
from training.config import DataFacts
from training.data.images import Pixels, decode_image, from_pillow, to_pillow
from training.data.transforms import MODES, ChannelsName, center_crop, on_colour
from training.generation.conditions import (
    ANYTHING,
    Condition,
    as_tensor,
    class_conditions,
    parse_conditions,
)
from training.generation.load import make_synthesizer
from training.generation.manifest import common_facts
from training.generation.projection import Features, Projection, ProjectionConfig, TargetDistance
from training.generation.synthesis import StyleConfig, Synthesizer, class_center
from training.generation.video import check_video, usable_format, write_video
from training.generation.w_files import save_w
from training.networks.generator import Generator
from training.pictures import make_grid, save_image
from training.snapshots import NetworkFile, load_network

PICTURE, TARGET, BOTH, STYLE = "proj.png", "target.png", "target-and-proj.png", "projected_w.npz"
VIDEO_FPS, VIDEO_FRAMES = 30, 300
_SIDE_BY_SIDE = 256  # pixels of a picture beside the other, at least
_CHANNELS: dict[int, ChannelsName] = {1: "grey", 3: "rgb", 4: "rgba"}
_WHITE = (255, 255, 255)


class ProjectorConfig(Config):
    """Which picture is projected into which network, and where the results go."""

    network: str
    target: Path
    outdir: Path
    class_name: str | None = None  # None: the classifier's choice, or what looks most alike
    projection: ProjectionConfig = ProjectionConfig()
    detector: str
    video: bool = False
    device: str = "auto"


def project(
    config: ProjectorConfig, make_features: Callable[[str, torch.device], Features]
) -> None:
    """Find the style of a picture; write it, what it makes, the target, and both side by side.

    `make_features` gives the perceptual features of a detector on a device. Raises `UserError` for
    a network, class, picture, detector or place that cannot be used.
    """
    device = choose_device(config.device)
    network = load_network(config.network)
    target = read_target(config.target, network.facts)
    video_format = usable_format("mp4") if config.video else "mp4"
    video = config.outdir / ("proj" if video_format == "frames" else f"proj.{video_format}")
    check_video(video, video_format, VIDEO_FPS)
    synthesizer = make_synthesizer(network, device, StyleConfig())  # which settles TF32 for all
    distance = TargetDistance(make_features(config.detector, device), _as_floats(target, device))
    generator = synthesizer.generator.requires_grad_(False)
    condition = _condition(config.class_name, network, distance, _as_floats(target, device))
    c = as_tensor([condition], generator.c_dim).to(device)
    search = Projection(generator, distance, c, config.projection)

    begin = _picture(synthesizer, search)
    steps = _tracked(search, config.projection.steps)
    if config.video:
        frames = _frames(steps, config.projection.steps, synthesizer, search, target)
        write_video(frames, video, video_format, VIDEO_FPS)
    else:
        deque(steps, maxlen=0)
    found = _picture(synthesizer, search)
    _write(config, network, condition, search.ws, target, found)
    for name, picture in (("mean style", begin), ("projection", found)):
        look = float(distance(_as_floats(picture, device)))
        pixels = float((picture.float() - target).square().mean().sqrt())
        logger.info(f"{name}: perceptual distance {look:.4f}, pixels differ by {pixels:.1f} of 255")
    logger.info(f"{PICTURE}, {STYLE} and others: {config.outdir}")


def read_target(path: Path, facts: DataFacts) -> Tensor:
    """A picture file cut and resized to what the network makes, uint8 `[1, C, H, W]`.

    Raises `UserError` for a file that is missing or no picture, and for a network of two channels.
    """
    try:
        data = read_plain(path)
    except OSError as error:
        raise UserError(f"--target {path}: cannot be read ({error.strerror}); check it") from None
    if facts.num_channels not in _CHANNELS:
        raise UserError(f"--network: has {facts.num_channels} channels, pictures have 1, 3 or 4")
    image = to_pillow(decode_image(data, f"--target {path}"))
    mode = MODES[_CHANNELS[facts.num_channels]]
    if image.mode == "RGBA" and mode != "RGBA":
        logger.info(f"--target {path}: the network has no transparency, so it lies on white")
        image = on_colour(image, _WHITE)
    image = center_crop(image.convert(mode), facts.width, facts.height, Image.Resampling.LANCZOS)
    return torch.from_numpy(from_pillow(image).copy()).permute(2, 0, 1)[None]


def choose_class(
    network: NetworkFile, distance: TargetDistance, target: Tensor
) -> tuple[Condition, str]:
    """The class of a picture, float `[1, C, H, W]` in -1..1, and how it was chosen.

    What the network's own classifier takes it for; without one, the class whose mean style looks
    most like it. All on the device of the network's generator.
    """
    known = class_conditions(network.facts)
    classifier = network.players.C
    if classifier is not None:
        timesteps = torch.zeros(1, dtype=torch.int64, device=target.device)
        logits = classifier.to(target.device).classify(target, timesteps)[0]
        best = int(logits.argmax())
        return known[best], f"the classifier takes it for that, {logits.softmax(0)[best]:.0%} sure"
    generator = network.generator
    distances = [
        float(distance(_mean_picture(generator, c[None])))
        for c in track(torch.eye(len(known)), "Comparing classes", len(known), "classes")
    ]
    return known[distances.index(min(distances))], "its mean looks most like it"


def _mean_picture(generator: Generator, c: Tensor) -> Tensor:
    center = class_center(generator, c.to(generator.mapping.w_avg.device))
    images: Tensor = generator.synthesis(
        center[:, None].expand(-1, generator.num_ws, -1), noise_mode="const"
    )
    return images


@torch.no_grad()
def _condition(
    name: str | None, network: NetworkFile, distance: TargetDistance, target: Tensor
) -> Condition:
    if name is not None:
        chosen = parse_conditions(network.facts, [name])
        if len(chosen) != 1:
            raise UserError(f"--class {name}: a picture has one class, or a mixture such as a+b")
        return chosen[0]
    if network.facts.num_classes == 0:
        return ANYTHING
    condition, reason = choose_class(network, distance, target)
    logger.info(f"No --class: {condition.name} ({reason})")
    return condition


def _tracked(search: Projection, steps: int) -> Iterator[int]:
    """The number of each step, from 0, when it is done."""
    with Progress("Projecting", steps, "steps") as bar:
        for number, distance in enumerate(search.run()):
            bar.update(1, f"distance {distance:.4f}")
            yield number


def _frames(
    done: Iterator[int], steps: int, synthesizer: Synthesizer, search: Projection, target: Tensor
) -> Iterator[Pixels]:
    """Target and projection side by side, at most `VIDEO_FRAMES` times and after the last step."""
    every = math.ceil(steps / VIDEO_FRAMES)
    for number in done:
        if (steps - 1 - number) % every == 0:
            yield _side_by_side(target, _picture(synthesizer, search))


def _picture(synthesizer: Synthesizer, search: Projection) -> Tensor:
    """What generate.py makes of the style so far, uint8 `[1, C, H, W]` on the CPU."""
    return synthesizer.render(search.ws, [0]).cpu()


def _as_floats(images: Tensor, device: torch.device) -> Tensor:
    return images.to(device).float() / 127.5 - 1


def _side_by_side(target: Tensor, found: Tensor) -> Pixels:
    return make_grid(torch.cat([target, found]), 2, min_cell=_SIDE_BY_SIDE)


def _write(
    config: ProjectorConfig,
    network: NetworkFile,
    condition: Condition,
    ws: Tensor,
    target: Tensor,
    found: Tensor,
) -> None:
    facts = {
        "target": sha256_file(config.target),
        "class": condition.name,
        "detector": config.detector,
        **config.projection.model_dump(),
        **common_facts(network, StyleConfig(), "fp32"),
    }
    save_w(config.outdir / STYLE, ws)
    save_image(config.outdir / TARGET, target[0].permute(1, 2, 0).numpy())
    save_image(config.outdir / PICTURE, found[0].permute(1, 2, 0).numpy(), facts)
    save_image(config.outdir / BOTH, _side_by_side(target, found), facts)
