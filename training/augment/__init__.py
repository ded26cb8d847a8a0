"""Augmentation of what the discriminator sees, real and generated images alike.

`make_augment(config)` gives a module with this interface, whatever the kind:

    augment(images) -> images     [N, C, H, W] about ±1, C from 1 to 4; differentiable twice
    augment.observe(real_logits)  takes note of D's logits on real images
    augment.observations()        what that moved, to be averaged over all processes
    augment.advance(num_images)   moves the probability p, where there is one

Everything is drawn from torch's generator of the images' device, every shape is static and nothing
waits for the device, so that a training step can be captured as a CUDA graph. Apart from its script
(`python -m training.augment`) the package knows nothing of the rest of `training`.
"""

from training.augment.adaptive import AdaptiveProbability
from training.augment.config import (
    PRESETS,
    AdaConfig,
    AugmentConfig,
    DiffAugmentConfig,
    PresetName,
    Strengths,
)
from training.augment.diff_augment import DiffAugment
from training.augment.pipeline import AdaptiveAugment, Augment, AugmentPipeline, make_augment

__all__ = [
    "PRESETS",
    "AdaConfig",
    "AdaptiveAugment",
    "AdaptiveProbability",
    "Augment",
    "AugmentConfig",
    "AugmentPipeline",
    "DiffAugment",
    "DiffAugmentConfig",
    "PresetName",
    "Strengths",
    "make_augment",
]
