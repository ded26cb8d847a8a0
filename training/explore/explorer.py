"""The pictures, files and command lines that the page shows."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass

import torch

from dnnlib import Config
from torch_utils.world import choose_device
from training.data.parallel import cpu_count, ordered_map
from training.explore.wishes import (
    MAX_SEED,
    MAX_SIDE,
    Wish,
    class_argument,
    most_pictures,
    plan_wish,
    style_arguments,
)
from training.generation.gallery import GRID_FILE
from training.generation.load import ComputeConfig, make_synthesizer
from training.generation.manifest import Facts, common_facts
from training.generation.picture_stream import Picture, Seeded, stream_pictures
from training.generation.pixel_noise import has_noise
from training.generation.synthesis import StyleConfig
from training.networks.precision import Precision
from training.pictures import encode_picture, make_grid
from training.snapshots import load_network


class ExplorerConfig(Config):
    """Which network is explored, and how it is computed."""

    network: str
    device: str = "auto"
    precision: Precision = "fp32"


class OutdatedError(Exception):
    """Nobody waits for the pictures any more."""


@dataclass(frozen=True)
class Shown:
    """A picture as the page shows it."""

    seed: int
    class_name: str
    file: str
    png: bytes  # with how it was made


class Explorer:
    """A network in memory that answers wishes, one at a time.

    Pictures are those of generate.py, to the last byte of their files. Raises `UserError` for a
    network, device or precision that cannot be used.
    """

    def __init__(self, config: ExplorerConfig) -> None:
        self._config = config
        self._network = load_network(config.network, "NETWORK")
        device = choose_device(config.device)
        compute = ComputeConfig(precision=config.precision)
        self._synthesizer = make_synthesizer(self._network, device, StyleConfig(), compute)
        self._device = str(device)
        self._last: tuple[Wish, list[Picture]] | None = None

    def describe(self) -> Facts:
        """What the page needs to know of the network."""
        facts, path = self._network.facts, self._network.path.resolve()
        return {
            "name": f"{path.parent.name}/{path.name}",
            "width": facts.width,
            "height": facts.height,
            "classes": list(facts.class_names),
            "noise": has_noise(self._network.generator.synthesis),
            "kimg": self._network.nimg // 1000,
            "device": self._device,
            "precision": self._config.precision,
            "max_seed": MAX_SEED,
            "max_side": MAX_SIDE,
            "most_pictures": most_pictures(facts),
        }

    def pictures(self, wish: Wish, is_outdated: Callable[[], bool]) -> list[Shown]:
        """What `wish` asks for, encoded.

        Raises `UserError` for a wish that this network cannot fulfil, and `OutdatedError` between
        two groups of images once `is_outdated`.
        """
        return list(ordered_map(_encoded, self._made(wish, is_outdated), cpu_count()))

    def file(self, wish: Wish, is_outdated: Callable[[], bool]) -> tuple[str, bytes]:
        """Name and bytes of a PNG to keep: the picture, or all of them in a grid. Raises as above.

        The text of a grid tells its first seed, rows and columns.
        """
        pictures = self._made(wish, is_outdated)
        if len(pictures) == 1:
            shown = _encoded(pictures[0])
            return shown.file, shown.png
        grid = make_grid(torch.stack([picture.image for picture in pictures]), wish.columns)
        facts: dict[str, object] = {"seed": wish.seed, "rows": wish.rows, "columns": wish.columns}
        if (text := class_argument(self._network.facts, wish)) is not None:
            facts["class"] = text
        return GRID_FILE, encode_picture(grid, "png", facts | self._common(wish))

    def command(self, wish: Wish) -> str:
        """The command line that makes the same pictures. Raises `UserError` for a wrong class."""
        config, seeds = self._config, wish.seeds
        text = class_argument(self._network.facts, wish)
        words = ["python", "generate.py", "--network", config.network, "--outdir", "out"]
        words += ["--seeds", f"{seeds[0]}-{seeds[-1]}" if len(seeds) > 1 else str(seeds[0])]
        words += [] if text is None else ["--class", text]
        words += style_arguments(wish.style)
        for name, default in (("device", "auto"), ("precision", "fp32")):
            if (value := getattr(config, name)) != default:
                words += [f"--{name}", value]
        return shlex.join(words)

    def _common(self, wish: Wish) -> dict[str, object]:
        return dict(common_facts(self._network, wish.style, self._config.precision))

    def _made(self, wish: Wish, is_outdated: Callable[[], bool]) -> list[Picture]:
        """The last wish's are kept: what is looked at is what is downloaded next."""
        if self._last is None or self._last[0] != wish:
            source = Seeded(plan_wish(self._network.facts, wish))
            synthesizer = self._synthesizer.with_style(wish.style)
            made: list[Picture] = []
            for picture in stream_pictures(source, synthesizer, self._common(wish), batch=1):
                if is_outdated():
                    raise OutdatedError
                made.append(picture)
            self._last = (wish, made)
        return self._last[1]


def _encoded(picture: Picture) -> Shown:
    pixels = picture.image.permute(1, 2, 0).numpy()
    seed = picture.facts["seed"]
    assert isinstance(seed, int)
    return Shown(
        seed=seed,
        class_name=picture.condition.name,
        file=f"{picture.stem}.png",
        png=encode_picture(pixels, "png", picture.facts),
    )
