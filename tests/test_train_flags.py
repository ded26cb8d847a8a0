"""The options of train.py: their names are a promise."""

from __future__ import annotations

import train
from training.diffusion import DiffusionConfig
from training.options import TrainOptions
from training.schedules import AdaptiveConfig

PUBLISHED = """
    --outdir --data --gpus --snap --metrics --seed -n --dry-run --cond --subset --mirror --cfg
    --gamma --kimg --batch --beta-schedule --beta-start --beta-end --t-min --t-max --t-max-c
    --noise-sd --ts-dist --target --ada-kimg --aug --augpipe --ada-maxp --resume --freezed --fp32
    --nhwc --allow-tf32 --nobench --workers --exp-id
"""
OURS = """
    --device --precision --low-resolutions --cuda-graphs --noise-model --noise-sd-c --ramp-c
    --t-embed --lambda-g --lambda-c --label-g --contrast-g --contrast-c --temperature
    --classifier --batch-gpu --tick --keep --detector --lr --lr-c --aug-kimg --aug-c
"""
# What D and C each have a say in: noise and how it moves.
DUAL = """
    --noise-d --noise-c --noise-at --beta-schedule-c --beta-start-c --beta-end-c --t-min-c
    --ts-dist-c --list-size --list-size-c --num-clean --num-clean-c --t-embed-c --horizon-d
    --horizon-c --target-c --ada-kimg-c --ramp-d --local-sd --local-sd-max --lambda-local
    --local-from --lr-local --adversarial
"""


def test_flags_are_those_that_were_promised_and_no_others() -> None:
    flags = {flag for parameter in train.main.params for flag in parameter.opts}
    assert flags == set(PUBLISHED.split()) | set(OURS.split()) | set(DUAL.split())


def test_every_field_of_the_diffusion_has_an_option_for_d_and_one_for_c() -> None:
    options = TrainOptions.model_fields
    for config in (DiffusionConfig, AdaptiveConfig):
        for name in config.model_fields.keys() - {"kind"}:
            assert options[name].description and options[f"{name}_c"].description, name


def test_every_flag_explains_itself() -> None:
    for parameter in train.main.params:
        assert getattr(parameter, "help", None) or parameter.name == "device", parameter.name
