"""Networks in the published pickles: StyleGAN2-ADA, Diffusion-GAN, DuDGAN.

Names, constructor arguments and tensors are kept; the source text inside is never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from torch import Tensor

from dnnlib import UserError
from torch_utils.inert_pickle import Record, read_pickle
from training.config import DataFacts, TrainingConfig
from training.data.dataset import DataConfig
from training.diffusion import DiffusionConfig
from training.networks.discriminator import DiscriminatorConfig
from training.networks.generator import Architecture, GeneratorConfig
from training.networks.grid import channels_at
from training.networks.layers import RESAMPLE_TAPS
from training.options import make_config, resolve_options

UNKNOWN = "unknown"  # the digest and the path of data that a pickle says nothing of
UNUSED = ("D.b4.out_1.",)  # layers that the published code makes and never uses
MAX_DEPTH, MAX_MODULES, MAX_NUMBER = 8, 5000, 2**20
_PLAYERS = ("G_ema", "D")
# The order of constructor arguments that were given without a name.
_POSITIONAL = {
    "G_ema": ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels"),
    "D": ("c_dim", "img_resolution", "img_channels"),
}
_NONE = type(None)
_PLAIN = (bool, int, float, str, _NONE)
_PRECISION = ("num_fp16_res", "fp16_channels_last", "use_fp16", "fused_modconv_default")


@dataclass(frozen=True)
class LegacyNetwork:
    """A published network in our terms: tensors by the names that our network files use."""

    config: TrainingConfig
    tensors: dict[str, Tensor]


def is_legacy(path: Path) -> bool:
    """Whether a file is a pickle, by its name or its first bytes."""
    if path.suffix == ".pkl":
        return True
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError:
        return False
    # A safetensors file may begin with these two bytes as well, but has a brace at the ninth.
    return len(start) == 9 and start[0] == 0x80 and 2 <= start[1] <= 5 and start[8:] != b"{"


def load_legacy(path: Path) -> LegacyNetwork:
    """Read a published network without running anything of it.

    What the file does not say is made up: classes are called '0', '1', ...; the data's digest is
    'unknown'; training follows the preset stylegan2, with the noise of our defaults where D sees
    timesteps. A classifier is left out. Raises `UserError` when the file is hostile, damaged, no
    published network, or one that our networks cannot represent.
    """
    root = read_pickle(path)
    if not isinstance(root, dict):
        raise UserError(f"{path}: not a published network (no dict of G_ema and D)")
    records: dict[str, Record] = {}
    for name in _PLAYERS:
        player = root.get(name)
        if not isinstance(player, Record) or not isinstance(player.state, dict):
            raise UserError(f"{path}: not a published network, its {name} is missing or none")
        records[name] = player
    tensors = {
        f"{name}.{key}": tensor
        for name, record in records.items()
        for key, tensor in _Collector(path).collect(record).items()
    }
    tensors = {key: tensor for key, tensor in tensors.items() if not key.startswith(UNUSED)}
    config = _config(path, records, _fields(root.get("training_set_kwargs")), tensors)
    return LegacyNetwork(config, tensors)


class _Collector:
    """The tensors of a tree of modules by their names in a state dict."""

    def __init__(self, path: Path) -> None:
        self.path, self.modules = path, 0

    def collect(self, module: object, depth: int = 0) -> dict[str, Tensor]:
        """Raises `UserError` when the tree is deeper or larger than a network can be."""
        self.modules += 1
        if depth > MAX_DEPTH or self.modules > MAX_MODULES:
            raise UserError(f"{self.path}: refused, its modules are nested without end")
        state = _fields(module.state if isinstance(module, Record) else None)
        transient = state.get("_non_persistent_buffers_set")
        found = {
            str(key): value.detach().clone()
            for group in ("_parameters", "_buffers")
            for key, value in _fields(state.get(group)).items()
            if isinstance(value, Tensor)
            and not (group == "_buffers" and isinstance(transient, set) and key in transient)
        }
        for name, child in _fields(state.get("_modules")).items():
            if child is not None:
                inner = self.collect(child, depth + 1)
                found |= {f"{name}.{key}": tensor for key, tensor in inner.items()}
        return found


def _fields(value: object) -> dict[str, Any]:
    """A dict of the file, which may be an EasyDict; anything else counts as empty."""
    items = value.items if isinstance(value, Record) else value
    return {str(key): item for key, item in items.items()} if isinstance(items, dict) else {}


class _Arguments:
    """Constructor arguments of one class of the file; each must be understood."""

    def __init__(self, path: Path, owner: str, values: Mapping[str, Any]) -> None:
        self.path, self.owner, self.values = path, owner, dict(values)

    def take(self, name: str, default: Any, *kinds: type) -> Any:
        """The argument, of one of `kinds` and of a sane size; `default` where it was left out."""
        value = self.values.pop(name, default)
        is_sane = not isinstance(value, int | float) or (
            0 < value <= MAX_NUMBER or (value == 0 and name == "c_dim")
        )
        if type(value) not in kinds or not is_sane:
            raise self._error(name, value)
        return value

    def choose(self, name: str, default: Any, allowed: tuple[Any, ...]) -> Any:
        """The argument, one of `allowed`."""
        value = self.values.pop(name, default)
        value = list(value) if isinstance(value, tuple) else value
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(part, _PLAIN) for part in parts) or value not in allowed:
            raise self._error(name, value)
        return value

    def expect(self, name: str, *allowed: Any) -> None:
        """Refuse an argument for which our networks have no place."""
        self.choose(name, allowed[0], allowed)

    def inner(self, name: str) -> _Arguments:
        """The arguments that are handed on to a part of the network."""
        return _Arguments(self.path, f"{self.owner}.{name}", _fields(self.values.pop(name, {})))

    def end(self, *ignored: str) -> None:
        """Refuse what is left, but for names that change no float32 result."""
        for name, value in self.values.items():
            if name not in ignored:
                raise self._error(name, value)

    def _error(self, name: str, value: object) -> UserError:
        shown = repr(value) if isinstance(value, _PLAIN) else "an object"
        return UserError(
            f"{self.path}: its {self.owner} was made with {name!r:.40} = {shown:.40}, which this "
            "project's networks cannot represent"
        )


def _arguments(path: Path, name: str, record: Record) -> _Arguments:
    state = _fields(record.state)
    positional = state.get("_init_args")
    given = positional if isinstance(positional, list | tuple) else ()
    if len(given) > len(_POSITIONAL[name]):
        raise UserError(f"{path}: its {name} was made with {len(given)} unnamed arguments")
    named = dict(zip(_POSITIONAL[name], given, strict=False))
    return _Arguments(path, name, named | _fields(state.get("_init_kwargs")))


def _config(
    path: Path,
    records: Mapping[str, Record],
    data: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
) -> TrainingConfig:
    g, d = (_arguments(path, name, records[name]) for name in _PLAYERS)
    size = g.take("img_resolution", None, int)
    channels = g.take("img_channels", None, int)
    num_classes = g.take("c_dim", None, int)
    if not (8 <= size <= 8192 and size & (size - 1) == 0 and channels <= 4):
        raise UserError(
            f"{path}: not a network of images (size {size}, {channels} channels, "
            f"{num_classes} classes)"
        )
    embed = tensors.get("D.mapping.embed.weight")
    columns = 0 if embed is None or embed.ndim != 2 else embed.shape[1]
    has_timestep = columns == num_classes + 1
    d.expect("img_resolution", size)
    d.expect("img_channels", channels)
    d.expect("c_dim", num_classes, columns)
    generator, discriminator = _generator(g), _discriminator(d)
    products = _products(generator, discriminator, num_classes, size, columns)
    for name, numbers in products.items():
        largest = max((t.numel() for key, t in tensors.items() if key.startswith(name)), default=0)
        if max(numbers) > largest:
            raise UserError(f"{path}: its {name} was made for larger tensors than it holds")
    num_images = data.get("max_size")
    facts = DataFacts(
        width=size,
        height=size,
        num_channels=channels,
        num_classes=num_classes,
        class_names=tuple(str(index) for index in range(num_classes)),
        num_images=num_images if type(num_images) is int and 0 < num_images < 2**40 else 0,
        digest=UNKNOWN,
    )
    source = data.get("path")
    batch_gpu = max(discriminator.mbstd_group, 1)
    given = {
        "noise_model": "none",
        "classifier": False,
        "mbstd": discriminator.mbstd_group,
        "batch_gpu": batch_gpu,
        "batch": 8 * batch_gpu,
    }
    options = resolve_options("stylegan2", given, size, size)
    has_path = isinstance(source, str) and source.isprintable()
    data_config = DataConfig(path=source if has_path else UNKNOWN)
    config = make_config(options, data_config, facts)
    return config.model_copy(
        update={
            "generator": generator,
            "discriminator": discriminator,
            "diffusion_d": DiffusionConfig() if has_timestep else None,
        }
    )


def _products(
    g: GeneratorConfig, d: DiscriminatorConfig, num_classes: int, size: int, columns: int
) -> dict[str, tuple[int, ...]]:
    """Sizes of some tensors of each player, so that none has to be made that is absurdly large."""
    g_base, d_base = (channels_at(4, player.channel_base, player.channel_max) for player in (g, d))
    mapped = g.w_dim * max(g.z_dim, g.w_dim) if g.map_layers else 0
    cmap_dim = (d.cmap_dim or d_base) if columns else 1
    return {
        "G_ema": (size**2, mapped, g.w_dim * max(num_classes, g_base), 9 * g_base**2),
        "D": (cmap_dim * max(columns, d_base), 9 * d_base**2),
    }


def _generator(g: _Arguments) -> GeneratorConfig:
    mapping, synthesis = g.inner("mapping_kwargs"), g.inner("synthesis_kwargs")
    shared = _shared(synthesis, "skip")
    synthesis.expect("use_noise", True)
    layers, lr = _mapping(mapping)
    z_dim, w_dim = g.take("z_dim", None, int), g.take("w_dim", None, int)
    for rest in (mapping, synthesis, g):
        rest.end("w_avg_beta", "class_name", *_PRECISION)
    return GeneratorConfig(z_dim=z_dim, w_dim=w_dim, map_layers=layers, map_lr=lr, **shared)


def _discriminator(d: _Arguments) -> DiscriminatorConfig:
    mapping, block, epilogue = (
        d.inner(f"{part}_kwargs") for part in ("mapping", "block", "epilogue")
    )
    shared = _shared(d, "resnet")
    for part in (block, epilogue):
        part.expect("activation", "lrelu")
    block.expect("resample_filter", list(RESAMPLE_TAPS))
    group = epilogue.take("mbstd_group_size", 4, int)
    num_maps = epilogue.choose("mbstd_num_channels", 1, (0, 1))
    layers, lr = _mapping(mapping)
    cmap_dim = d.take("cmap_dim", None, int, _NONE)
    for rest in (mapping, block, epilogue, d):
        rest.end("w_avg_beta", "class_name", "freeze_layers", *_PRECISION)
    return DiscriminatorConfig(
        map_layers=layers,
        map_lr=lr,
        cmap_dim=cmap_dim,
        mbstd_group=group if num_maps else 0,
        t_embed="raw",
        **shared,
    )


def _shared(values: _Arguments, architecture: str) -> dict[str, Any]:
    """What G's synthesis and D have in common; `architecture` is the class's default."""
    values.expect("activation", "lrelu")
    values.expect("resample_filter", list(RESAMPLE_TAPS))
    return {
        "channel_base": values.take("channel_base", 32768, int),
        "channel_max": values.take("channel_max", 512, int),
        "architecture": values.choose("architecture", architecture, get_args(Architecture)),
        "conv_clamp": values.take("conv_clamp", None, int, float, _NONE),
    }


def _mapping(values: _Arguments) -> tuple[int, float]:
    """Number of layers and relative learning rate of a mapping network."""
    values.expect("activation", "lrelu")
    for name in ("embed_features", "layer_features"):
        values.expect(name, None)
    num_layers = values.choose("num_layers", 8, tuple(range(33)))
    return num_layers, float(values.take("lr_multiplier", 0.01, int, float))
