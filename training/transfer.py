"""Starting a run from the weights of another, whatever the two have in common."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from training.config import DataFacts
from training.players import Players
from training.snapshots import NetworkFile

# The tensors that have a row or column for each class, and along which dimension it runs.
CLASS_TENSORS = {
    "G.mapping.embed.weight": 1,
    "D.mapping.embed.weight": 1,  # the timestep's columns come after those of the classes
    "C.head.weight": 0,
    "C.head.bias": 0,
}


@torch.no_grad()
def transfer(players: Players, source: NetworkFile, facts: DataFacts) -> list[str]:
    """Copy what fits from a network file into fresh `players`; G begins as the file's G_ema.

    Tensors of another shape keep their initial values, but for those that belong to classes: a
    class that both data sets call by the same name keeps what was learnt. Returns a line for each
    player and for each tensor that was not copied whole.
    """
    theirs = _weights(source.players, "G_ema")
    classes = shared_classes(facts, source.facts)
    report: list[str] = []
    copied: dict[str, int] = {}
    for name, tensor in _weights(players, "G").items():
        player = name.split(".", 1)[0]
        copied.setdefault(player, 0)
        other = theirs.get(name)
        if other is None:
            report.append(f"{name}: new, {source.path.name} has none")
        elif other.shape == tensor.shape and (name not in CLASS_TENSORS or _same(facts, source)):
            tensor.copy_(other)
            copied[player] += 1
        elif name in CLASS_TENSORS:
            kept = _copy_classes(name, tensor, other, classes, facts, source.facts)
            report.append(f"{name}: kept {kept} of {facts.num_classes} classes, by name")
        else:
            report.append(f"{name}: new, {list(other.shape)} does not fit {list(tensor.shape)}")
    players.G_ema = copy.deepcopy(players.G)
    return [f"{player}: {count} tensors copied" for player, count in copied.items()] + report


def shared_classes(ours: DataFacts, theirs: DataFacts) -> list[tuple[int, int]]:
    """(our index, their index) of each class name that both have."""
    return [
        (index, theirs.class_names.index(name))
        for index, name in enumerate(ours.class_names)
        if name in theirs.class_names
    ]


def _same(facts: DataFacts, source: NetworkFile) -> bool:
    return facts.class_names == source.facts.class_names


def _weights(players: Players, generator: str) -> dict[str, Tensor]:
    """Parameters and buffers of G (taken from the module called `generator`), D and C."""
    names = {generator: "G", "D": "D", "C": "C"}
    return {
        f"{names[player]}.{rest}": tensor
        for name, tensor in players.state_dict(keep_vars=True).items()
        for player, _, rest in [name.partition(".")]
        if player in names
    }


def _copy_classes(
    name: str,
    tensor: Tensor,
    other: Tensor,
    classes: list[tuple[int, int]],
    facts: DataFacts,
    theirs: DataFacts,
) -> int:
    """Copy the shared classes' rows or columns, and the timestep's columns; how many classes."""
    dim = CLASS_TENSORS[name]
    rest, other_rest = tensor.shape[dim] - facts.num_classes, other.shape[dim] - theirs.num_classes
    if tensor.shape[1 - dim :][:1] != other.shape[1 - dim :][:1] and tensor.ndim == 2:
        return 0
    # Inputs of a layer are scaled by 1 / sqrt(fan_in), which the number of classes changes.
    scale = math.sqrt(tensor.shape[dim] / other.shape[dim]) if dim == 1 else 1.0
    for ours, index in classes:
        tensor.select(dim, ours).copy_(other.select(dim, index) * scale)
    if rest == other_rest > 0:
        tensor.narrow(dim, facts.num_classes, rest).copy_(
            other.narrow(dim, theirs.num_classes, rest) * scale
        )
    return len(classes)
