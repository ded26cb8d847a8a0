"""Jensen-Shannon divergences of noisy distributions by quadrature, in nats, float64."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

LOG2 = math.log(2)
# Nodes for expectations under N(0, 1). Two Gaussians 16 deviations apart share 1e-15 of their mass;
# up to there the trapezoidal rule with this step is exact to double precision.
_FARTHEST, _REACH, _NUM_NODES = 16.0, 10.0, 501


def gaussian_jsd(u: Tensor) -> Tensor:
    """JSD of N(0, 1) and N(u, 1), of the shape of `u`, u ≥ 0: log 2 - E softplus(-D(x)).

    D(x) = u²/2 - u x is the optimal discriminator's logit, x ~ N(0, 1).
    """
    u, x, weights = _nodes(u)
    logit = u.square() / 2 - u * x
    # Of torch's ways to write softplus(-D) this one keeps double precision.
    return LOG2 + (F.logsigmoid(logit) * weights).sum(dim=-1)


def gaussian_jsd_slope(u: Tensor) -> Tensor:
    """dJ/du of `gaussian_jsd`, of the shape of `u`."""
    u, x, weights = _nodes(u)
    return ((u * x - u.square() / 2).sigmoid() * (u - x) * weights).sum(dim=-1)


def _nodes(u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """u `[..., 1]`, nodes x and weights `[501]`."""
    x = torch.linspace(-_REACH, _REACH, _NUM_NODES, dtype=torch.float64)
    weights = (-x.square() / 2).exp()
    return u.double().clamp(max=_FARTHEST)[..., None], x, weights / weights.sum()


def divergence(law: Tensor, snr: Tensor, distance: Tensor) -> Tensor:
    """E_t J(d sqrt(SNR_t)) for distances `[K]`, `[K]`: the JSD of (x_t, t) and (x̃_t, t).

    `law` `[T + 1]` are the probabilities of t, `snr` `[T + 1]` the signal-to-noise ratios, infinite
    at t = 0. D is told t, which is as likely for both: its divergences add up.
    """
    drawn = law > 0
    law, apart = law[drawn], snr[drawn].sqrt()
    return torch.stack([(law * gaussian_jsd(d * apart)).sum() for d in distance])


def sensitivity(law: Tensor, snr: Tensor, distance: Tensor) -> Tensor:
    """How `divergence` changes with the logarithm of the distance, d · dJSD/dd, `[K]`."""
    drawn = law > 0
    law, apart = law[drawn], snr[drawn].sqrt()
    rows = []
    for d in distance:
        u = (d * apart).clamp(max=_FARTHEST)
        rows.append((law * u * gaussian_jsd_slope(u)).sum())
    return torch.stack(rows)


def divergence_untold(law: Tensor, alphas_bar: Tensor, noise_sd: float, distance: float) -> Tensor:
    """The same where D is not told t: JSD of two mixtures of Gaussians on a line.

    Clean images are points that never meet, each of log 2. `law` and `alphas_bar` `[T + 1]` are the
    probability and ᾱ of each t; the result is a scalar in nats.
    """
    step = noise_sd / 200
    y = torch.arange(-8 * noise_sd, distance + 8 * noise_sd, step, dtype=torch.float64)
    real, fake = torch.zeros_like(y), torch.zeros_like(y)
    for weight, alpha_bar in zip(law[1:], alphas_bar[1:], strict=True):
        deviation = (1 - alpha_bar).sqrt() * noise_sd
        real += weight * _density(y / deviation) / deviation
        fake += weight * _density((y - alpha_bar.sqrt() * distance) / deviation) / deviation
    return law[0] * LOG2 + jsd_of_densities(real, fake, step)


def jsd_of_densities(p: Tensor, q: Tensor, step: float) -> Tensor:
    """½ ∫ p log(2p / (p + q)) + ½ ∫ q log(2q / (p + q)) of densities at equal steps `[K]`."""
    middle = (p + q) / 2
    excess = torch.xlogy(p, p) + torch.xlogy(q, q) - 2 * torch.xlogy(middle, middle)
    return excess.sum() * step / 2


def _density(x: Tensor) -> Tensor:
    return (-x.square() / 2).exp() / math.sqrt(2 * math.pi)
