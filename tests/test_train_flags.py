"""The options of train.py: their names are a promise."""

from __future__ import annotations

import train

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


def test_flags_are_those_that_were_promised_and_no_others() -> None:
    flags = {flag for parameter in train.main.params for flag in parameter.opts}
    assert flags == set(PUBLISHED.split()) | set(OURS.split())


def test_every_flag_explains_itself() -> None:
    for parameter in train.main.params:
        assert getattr(parameter, "help", None) or parameter.name == "device", parameter.name
