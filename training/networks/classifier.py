"""DuDGAN's classifier: the discriminator's trunk with features for two losses."""

from __future__ import annotations

from typing import cast

from torch import Tensor
from torch.nn import functional as F

from training.networks.layers import FullyConnectedLayer
from training.networks.timesteps import TimestepEmbedding, TimestepEmbeddingKind
from training.networks.trunk import Trunk, TrunkConfig


class ClassifierConfig(TrunkConfig):
    """The trunk and its two heads. Minibatch statistics are off: they leak the batch."""

    mbstd_group: int = 0
    embed_dim: int = 512
    t_embed: TimestepEmbeddingKind = "fourier"


class Classifier(Trunk):
    """Class logits and contrastive features of noisy images.

    `t_max` None makes a classifier that sees no noise and no timesteps.
    """

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
        self.embed_timesteps: TimestepEmbedding | None = None
        self.timestep_map: FullyConnectedLayer | None = None
        if t_max is not None:
            self.embed_timesteps = TimestepEmbedding(config.t_embed, t_max)
            self.timestep_map = FullyConnectedLayer(self.embed_timesteps.dim, config.embed_dim)
        self.head = FullyConnectedLayer(config.embed_dim, num_classes)

    def encode(self, images: Tensor, timesteps: Tensor | None) -> Tensor:
        """Features `h (1 + m(t))` of images about ±1, `[N, embed_dim]`; see DuDGAN section 3.2."""
        h = self.features(images)
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
