"""Every configuration survives being written down and read back."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dnnlib import Config, UserError
from training.augment import PRESETS
from training.config import DataFacts, OptimizerConfig, TrainingConfig
from training.data.dataset import DataConfig
from training.data.draft import Step
from training.diffusion import BetaSchedule
from training.options import make_config, resolve_options
from training.presets import PRESET_NAMES, PresetName

FEW = settings(max_examples=40, deadline=None)
RESOLUTIONS = [(16, 16), (32, 32), (64, 64), (256, 256), (320, 256), (1024, 1024)]


def facts(width: int, height: int, num_classes: int, channels: int = 3) -> DataFacts:
    return DataFacts(
        width=width,
        height=height,
        num_channels=channels,
        num_classes=num_classes,
        class_names=tuple(f"class {index} é" for index in range(num_classes)),
        num_images=1000,
        digest="0" * 64,
    )


def again(config: TrainingConfig) -> TrainingConfig:
    return TrainingConfig.from_json(config.to_json(), "a file")


@pytest.mark.parametrize("num_classes", [0, 10])
@pytest.mark.parametrize("size", RESOLUTIONS, ids=str)
@pytest.mark.parametrize("cfg", PRESET_NAMES)
def test_every_preset_survives(cfg: PresetName, size: tuple[int, int], num_classes: int) -> None:
    config = make_config(
        resolve_options(cfg, {}, *size), DataConfig(path="é ü.zip"), facts(*size, num_classes)
    )
    assert again(config) == config
    assert again(config).to_json() == config.to_json()
    assert config.differences(again(config)) == []
    assert TrainingConfig.model_validate(config.model_dump()) == config


options = st.fixed_dictionaries(
    {},
    optional={
        "batch": st.sampled_from([8, 16, 32, 64]),
        "seed": st.integers(0, 2**63),
        "gamma": st.floats(0, 100),
        "lr": st.floats(1e-9, 1),
        "betas": st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
        "ema_rampup": st.none() | st.floats(0, 1),
        "conv_clamp": st.none() | st.floats(1, 1000),
        "aug": st.sampled_from(["no", "ada", "diff"]),
        "augpipe": st.sampled_from(sorted(PRESETS)),
        "noise_model": st.sampled_from(["none", "global", "local"]),
        "beta_schedule": st.sampled_from(get_args(BetaSchedule)),
        "horizon_c": st.sampled_from(["adaptive", "ramp"]),
        "t_max": st.integers(50, 5000),
        "num_clean": st.integers(0, 64),
        "classifier": st.booleans(),
        "contrast_g": st.sampled_from(["class", "instance"]),
        "adversarial": st.sampled_from(["softplus", "hinge"]),
        "metrics": st.lists(st.sampled_from(["fid5k_full", "kid5k_full"])).map(tuple),
        "keep": st.none() | st.integers(1, 9),
    },
)


@FEW
@given(st.sampled_from(PRESET_NAMES), options, st.integers(0, 3), st.integers(1, 4))
def test_whatever_is_asked_for_survives(
    cfg: PresetName, given_options: dict[str, Any], num_classes: int, channels: int
) -> None:
    try:
        resolved = resolve_options(cfg, given_options, 32, 32)
        data = DataConfig(path="data.zip", mirror=True, subset=100)
        config = make_config(resolved, data, facts(32, 32, num_classes, channels))
    except UserError:
        assume(False)
    assert again(config) == config
    for name in ("batch", "seed"):
        assert getattr(config, name) == given_options.get(name, getattr(config, name))


@pytest.mark.parametrize("cfg", PRESET_NAMES)
def test_a_field_that_nobody_knows_is_refused_at_any_depth(cfg: PresetName) -> None:
    config = make_config(
        resolve_options(cfg, {}, 32, 32), DataConfig(path="data.zip"), facts(32, 32, 10)
    )

    def parts(value: Any) -> list[dict[str, Any]]:
        if not isinstance(value, dict):
            return []
        return [value, *(part for child in value.values() for part in parts(child))]

    saved = json.loads(config.to_json())
    assert len(parts(saved)) > 8
    for part in parts(saved):
        part["unheard_of"] = 1
        with pytest.raises(UserError, match="unheard_of"):
            TrainingConfig.from_json(json.dumps(saved), "a file")
        del part["unheard_of"]


@pytest.mark.parametrize("name", ["betas", "betas_c", "betas_local"])
@pytest.mark.parametrize("pair", [(2.0, 0.5), (0.5, 1.0), (-0.1, 0.9)])
def test_means_that_would_not_decay_are_refused(name: str, pair: tuple[float, float]) -> None:
    values = OptimizerConfig().model_dump() | {name: pair}
    with pytest.raises(UserError, match=rf"a file: {name}\.\d: Input should be "):
        OptimizerConfig.from_json(json.dumps(values), "a file")


def subclasses(config: type[Config]) -> list[type[Config]]:
    children = config.__subclasses__()
    return children + [deeper for child in children for deeper in subclasses(child)]


@pytest.mark.parametrize("kind", subclasses(Config), ids=lambda kind: str(kind.__name__))
def test_defaults_survive_and_are_frozen(kind: type[Config]) -> None:
    required = [name for name, field in kind.model_fields.items() if field.is_required()]
    if required:
        with pytest.raises(UserError, match=f"a file: {required[0]}"):
            kind.from_json("{}", "a file")
        return
    config = kind()
    assert kind.from_json(config.to_json(), "a file") == config
    for name in kind.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(config, name, None)


@FEW
@given(st.builds(Step))
def test_lines_of_a_journal_survive(step: Step) -> None:
    assert Step.model_validate_json(step.model_dump_json()) == step
