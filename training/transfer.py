"""Starting a run from the weights of another, whatever the two have in common."""

from __future__ import annotations

import copy
import math
import re

import torch
from torch import Tensor

from training.config import DataFacts
from training.legacy import UNKNOWN
from training.players import Players
from training.snapshots import NetworkFile

# The tensors that have a row or column for each class, and along which dimension it runs.
# In D's the timestep's columns come after those of the classes.
CLASS_TENSORS = {
    r"[GD]\.mapping\.embed\.weight": 1,
    r"G\.synthesis\.b\d+\.norm[01]\.(gain|bias)": 0,
    r"D\.embed\.weight": 1,
    r"C\.head\.(weight|bias)": 0,
    r"view_d\.rho": 0,
}


def class_dimension(name: str) -> int | None:
    """Along which dimension of a tensor the classes run; None where they do not."""
    dims = [dim for pattern, dim in CLASS_TENSORS.items() if re.fullmatch(pattern, name)]
    return dims[0] if dims else None


@torch.no_grad()
def transfer(players: Players, source: NetworkFile, facts: DataFacts) -> list[str]:
    """Copy what fits from a network file into fresh `players`; G begins as the file's G_ema.

    Tensors of another shape keep their initial values, but for those that belong to classes: a
    class that both data sets call by the same name keeps what was learnt. Classes of a file without
    names, a converted pickle, go by number where there are as many. Returns a line for each player
    and for each tensor that was not copied whole.
    """
    theirs = _weights(source.players, "G_ema")
    by_number = go_by_number(facts, source.facts)
    classes = shared_classes(facts, source.facts)
    same = by_number or facts.class_names == source.facts.class_names
    report: list[str] = []
    copied: dict[str, int] = {}
    for name, tensor in _weights(players, "G").items():
        player = name.split(".", 1)[0]
        copied.setdefault(player, 0)
        other, dim = theirs.get(name), class_dimension(name)
        if other is None:
            report.append(f"{name}: new, {source.path.name} has none")
        elif other.shape == tensor.shape and (dim is None or same):
            tensor.copy_(other)
            copied[player] += 1
        elif dim is not None:
            # Inputs of StyleGAN2's layers are scaled by 1 / sqrt(fan_in), which classes change.
            scale = math.sqrt(tensor.shape[1] / other.shape[1]) if ".mapping." in name else 1.0
            kept = _copy_classes(tensor, other * scale, dim, classes, facts, source.facts)
            how = "number" if by_number else "name"
            report.append(f"{name}: kept {kept} of {facts.num_classes} classes, by {how}")
        else:
            report.append(f"{name}: new, {list(other.shape)} does not fit {list(tensor.shape)}")
    players.G_ema = copy.deepcopy(players.G).eval()
    counts = [f"{player}: {count} tensors copied" for player, count in copied.items()]
    if by_number:
        counts.append(f"classes go by number: {source.path.name} does not name them")
    return counts + report


def go_by_number(ours: DataFacts, theirs: DataFacts) -> bool:
    """Whether `theirs` have made-up names, see `training.legacy`, and are as many as `ours`."""
    return theirs.digest == UNKNOWN and ours.num_classes == theirs.num_classes > 0


def shared_classes(ours: DataFacts, theirs: DataFacts) -> list[tuple[int, int]]:
    """(our index, their index) of each class that both have: of one name, or of one number."""
    if go_by_number(ours, theirs):
        return [(index, index) for index in range(ours.num_classes)]
    return [
        (index, theirs.class_names.index(name))
        for index, name in enumerate(ours.class_names)
        if name in theirs.class_names
    ]


def _weights(players: Players, generator: str) -> dict[str, Tensor]:
    """Those of G (taken from the module called `generator`), D, C and D's learnt noise."""
    names = {generator: "G", "D": "D", "C": "C"}
    if players.learned_noise is not None:
        names["view_d"] = "view_d"
    return {
        f"{names[player]}.{rest}": tensor
        for name, tensor in players.state_dict(keep_vars=True).items()
        for player, _, rest in [name.partition(".")]
        if player in names
    }


def _copy_classes(
    tensor: Tensor,
    other: Tensor,
    dim: int,
    classes: list[tuple[int, int]],
    facts: DataFacts,
    theirs: DataFacts,
) -> int:
    """Copy the shared classes' rows or columns, and the timestep's columns; how many classes."""
    rest, other_rest = tensor.shape[dim] - facts.num_classes, other.shape[dim] - theirs.num_classes
    if tensor.shape[1 - dim :][:1] != other.shape[1 - dim :][:1] and tensor.ndim == 2:
        return 0
    for ours, index in classes:
        tensor.select(dim, ours).copy_(other.select(dim, index))
    if rest == other_rest > 0:
        tensor.narrow(dim, facts.num_classes, rest).copy_(
            other.narrow(dim, theirs.num_classes, rest)
        )
    return len(classes)
