"""DuDGAN's classifier: features of noisy images for two losses."""

from __future__ import annotations

from typing import Literal, cast

from torch import Tensor, nn
from torch.nn import functional as F

from training.networks.layers import FeatureNoise, FullyConnectedLayer
from training.networks.timesteps import TimestepEmbedding, TimestepEmbeddingKind
from training.networks.trunk import Trunk, TrunkConfig


class ClassifierConfig(TrunkConfig):
    """The trunk and its two heads. Minibatch statistics are off: they leak the batch."""

    kind: Literal["trunk"] = "trunk"
    mbstd_group: int = 0
    embed_dim: int = 512
    t_embed: TimestepEmbeddingKind = "fourier"


class Classifier(nn.Module):
    """Class logits and contrastive features of what a backbone makes of noisy images.

    A backbone defines `features` and calls `add_heads` when it is complete.
    """

    embed_timesteps: TimestepEmbedding | None
    timestep_map: FullyConnectedLayer | None
    head: FullyConnectedLayer

    def add_heads(
        self, embed_dim: int, num_classes: int, t_embed: TimestepEmbeddingKind, t_max: int | None
    ) -> None:
        """`t_max` None makes a classifier that sees no timesteps."""
        self.embed_timesteps = self.timestep_map = None
        if t_max is not None:
            self.embed_timesteps = TimestepEmbedding(t_embed, t_max)
            self.timestep_map = FullyConnectedLayer(self.embed_timesteps.dim, embed_dim)
        self.head = FullyConnectedLayer(embed_dim, num_classes)

    def features(self, images: Tensor, noise: FeatureNoise | None = None) -> Tensor:
        """Images about ±1 → `[N, embed_dim]`; `noise` is added to those of the first layer."""
        raise NotImplementedError

    def encode(
        self, images: Tensor, timesteps: Tensor | None, noise: FeatureNoise | None = None
    ) -> Tensor:
        """Features `h (1 + m(t))` of images about ±1, `[N, embed_dim]`; see DuDGAN section 3.2."""
        h = self.features(images, noise)
        if self.embed_timesteps is None or self.timestep_map is None:
            return h
        assert timesteps is not None, "a noise-aware classifier needs timesteps"
        return h * (1 + cast(Tensor, self.timestep_map(self.embed_timesteps(timesteps))))

    def embed(self, images: Tensor, timesteps: Tensor | None) -> Tensor:
        """L2-normalised features for the contrastive loss, `[N, embed_dim]`."""
        return F.normalize(self.encode(images, timesteps), dim=1)

    def classify(self, images: Tensor, timesteps: Tensor | None) -> Tensor:
        """Class logits, `[N, num_classes]`."""
        return cast(Tensor, self.head(self.encode(images, timesteps)))


class TrunkClassifier(Trunk, Classifier):
    """The discriminator's trunk as a classifier."""

    def __init__(
        self,
        config: ClassifierConfig,
        num_classes: int,
        t_max: int | None,
        width: int,
        height: int,
        img_channels: int,
    ) -> None:
        super().__init__(config, width, height, img_channels, config.embed_dim)
        self.add_heads(config.embed_dim, num_classes, config.t_embed, t_max)
