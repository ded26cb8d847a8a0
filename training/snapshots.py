"""Network files: what a run hands to generation, measurement and later runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch

from dnnlib import UserError
from dnnlib.download import fetch, is_url
from dnnlib.files import sha256_file
from dnnlib.logs import logger
from torch_utils.checkpoint import load_tensors, save_tensors
from torch_utils.modules import all_finite
from training.config import DataFacts, TrainingConfig
from training.data.labels import composed
from training.legacy import is_legacy, load_legacy
from training.networks.generator import Generator
from training.plausible import check_plausible
from training.players import Players

FORMAT = "dudgan-1"
BEST_NETWORK = "network-best.safetensors"
_NEWEST = re.compile(r"network-snapshot-(\d{6,})\.safetensors")


def snapshot_name(nimg: int) -> str:
    """File name of the network after `nimg` images; the number counts thousands."""
    return f"network-snapshot-{nimg // 1000:06d}.safetensors"


def best_network_name(metric: str = "") -> str:
    """File name of the best network by `metric`, or by a run's first metric."""
    return f"network-best-{metric}.safetensors" if metric else BEST_NETWORK


def prune_snapshots(run_dir: Path, keep: int) -> None:
    """Remove all but the `keep` newest networks of a run; the best by any metric stay."""
    for path in network_snapshots(run_dir)[:-keep]:
        path.unlink()


def save_network(path: Path, players: Players, config: TrainingConfig, nimg: int) -> None:
    """Write `Players.published` with the config and the facts of the data, atomically."""
    metadata = {"format": FORMAT, "config": config.to_json(), "nimg": str(nimg)}
    save_tensors(path, players.published(), metadata)


@dataclass(frozen=True)
class NetworkFile:
    """A network file's players (on the CPU, in evaluation state) and where they come from."""

    path: Path
    digest: str  # SHA-256 of the file
    config: TrainingConfig
    nimg: int
    players: Players

    @property
    def generator(self) -> Generator:
        """The averaged generator, G_ema."""
        return self.players.G_ema

    @property
    def facts(self) -> DataFacts:
        """Size, channels and class names that the networks were trained on."""
        return self.config.facts


def load_network(source: str, option: str = "--network") -> NetworkFile:
    """Read a network from a file, a URL or a run folder (its best or newest network).

    Published pickles are read too, see `training.legacy`. Raises `UserError` that begins with
    `option` when there is none, or when it is not a network of ours.
    """
    path = find_network(source, option)
    if is_legacy(path):
        legacy = load_legacy(path)
        return _network_file(path, legacy.config, 0, legacy.tensors)
    tensors, metadata = load_tensors(path)
    if metadata.get("format") != FORMAT:
        raise UserError(f"{path}: not a network file of this project (no {FORMAT!r} in it)")
    config = TrainingConfig.from_json(metadata.get("config", ""), path)
    nimg = metadata.get("nimg", "0")
    if not nimg.isdecimal():
        raise UserError(f"{path}: its nimg must be a number, found {nimg!r:.80}")
    return _network_file(path, config, int(nimg), tensors)


def _network_file(
    path: Path, config: TrainingConfig, nimg: int, tensors: dict[str, torch.Tensor]
) -> NetworkFile:
    """The players of `config` with `tensors`: each must have its place, and none may be missing."""
    check_plausible(path, config, tensors)
    try:
        players = Players(config)
    except (RuntimeError, ValueError, ArithmeticError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{path}: its config describes no network ({reason}); get it again"
        ) from None
    weights = dict(players.state_dict())
    for key, tensor in tensors.items():
        if key not in weights or weights[key].shape != tensor.shape:
            raise UserError(f"{path}: its config has no {key} of shape {list(tensor.shape)}")
        weights[key] = tensor
    missing = [key for key in players.published() if key not in tensors]
    if missing:
        raise UserError(f"{path}: lacks {len(missing)} tensors, the first is {missing[0]}")
    players.load_state_dict(weights)
    if not all_finite(players.G_ema):
        raise UserError(
            f"{path}: holds numbers that are not finite, the training diverged; use an earlier one"
        )
    players.G.load_state_dict(players.G_ema.state_dict())
    return NetworkFile(path, sha256_file(path), config, nimg, players.eval())


def find_network(source: str, option: str = "--network") -> Path:
    """The file that NETWORK means: a file, a URL (downloaded), or a run folder's best or newest.

    Raises `UserError` when there is none.
    """
    if is_url(source):
        return fetch(source)
    path = Path(source)
    if not path.is_dir():
        if not path.is_file():
            raise UserError(f"{option} {source}: no such file or folder; check the path")
        return path
    if (path / BEST_NETWORK).is_file():
        return path / BEST_NETWORK
    snapshots = network_snapshots(path)
    if not snapshots:
        raise UserError(
            f"{option} {source}: the folder holds no network-snapshot-*.safetensors; name a run "
            "folder that has reached its first snapshot, or a file"
        )
    return snapshots[-1]


def network_snapshots(run_dir: Path) -> list[Path]:
    """The numbered network files of a run, oldest first."""
    found = [
        (int(match[1]), entry)
        for entry in run_dir.iterdir()
        if (match := _NEWEST.fullmatch(entry.name))
    ]
    return [entry for _, entry in sorted(found)]


def class_index(facts: DataFacts, name: str) -> int:
    """The class called `name`, or numbered so.

    Raises `UserError` that lists the classes when there is no such class.
    """
    if facts.num_classes == 0:
        raise UserError(f"--class {name}: the network was trained without classes")
    class_names = [composed(known) for known in facts.class_names]
    if composed(name) in class_names:
        return class_names.index(composed(name))
    if name.isdecimal() and int(name) < facts.num_classes:
        return int(name)
    shown = ", ".join(facts.class_names[:20]) + (", ..." if facts.num_classes > 20 else "")
    raise UserError(
        f"--class {name}: no such class; there are {facts.num_classes}, by number from 0 or by "
        f"name: {shown}"
    )


def convert_network(source: str, dest: Path, overwrite: bool) -> None:
    """Write the network `source` (file, URL or run folder) to `dest` in our format; says where.

    Raises `UserError` when `dest` is there and `overwrite` is not given, and as `load_network`.
    """
    if dest.suffix != ".safetensors":
        raise UserError(f"{dest}: the result's name must end in .safetensors")
    if dest.exists() and not overwrite:
        raise UserError(f"{dest}: already there; give --overwrite to replace it")
    network = load_network(source, "IN.pkl")
    save_network(dest, network.players, network.config, network.nimg)
    facts = network.facts
    shape = f"{facts.width}x{facts.height}, {facts.num_channels} channels"
    logger.info(f"Network ({shape}, {facts.num_classes} classes): {dest}")
