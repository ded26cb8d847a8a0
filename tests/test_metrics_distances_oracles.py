"""FID, KID and the Inception Score are those of torchmetrics (which only the tests need)."""

from __future__ import annotations

import pytest
import torch
from metrics_helpers import normal
from torch import Tensor, nn

from metrics.fid import fid
from metrics.inception_score import inception_score
from metrics.kid import kid

needed = "pip install -r requirements-dev.txt brings torchmetrics, which this is compared with"
# By module: the package has them only beside torch-fidelity, which brings weights unused here.
oracle_fid = pytest.importorskip("torchmetrics.image.fid", reason=needed)
oracle_kid = pytest.importorskip("torchmetrics.image.kid", reason=needed)
oracle_is = pytest.importorskip("torchmetrics.image.inception", reason=needed)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of its memory
WIDTH = 16


class AsTheyAre(nn.Module):
    """A feature extractor that takes features for images."""

    num_features = WIDTH

    def forward(self, features: Tensor) -> Tensor:
        """`[N, WIDTH]` as it is."""
        return features


def mixed(count: int, seed: int) -> Tensor:
    """Correlated features that differ in scale."""
    onto = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(7))
    return normal(count, WIDTH, seed) @ onto + seed


@pytest.mark.parametrize(("num_real", "num_fake"), [(500, 400), (40, 30), (10, 12)])
def test_fid(num_real: int, num_fake: int) -> None:
    real, fake = mixed(num_real, 0).double(), mixed(num_fake, 1).double()
    oracle = oracle_fid.FrechetInceptionDistance(feature=AsTheyAre())
    oracle.set_dtype(torch.float64)
    oracle.update(real, real=True)
    oracle.update(fake, real=False)
    # torchmetrics divides covariances by N − 1, as Heusel's code does, and we by N.
    scaled = [x.mean(0) + (x - x.mean(0)) * (len(x) / (len(x) - 1)) ** 0.5 for x in (real, fake)]
    assert fid(*scaled) == pytest.approx(float(oracle.compute()), rel=1e-6)


@pytest.mark.parametrize("subset", [50, 200])
def test_kid(subset: int) -> None:
    real, fake = mixed(200, 0).double(), mixed(200, 1).double()
    oracle = oracle_kid.KernelInceptionDistance(
        feature=AsTheyAre(), subsets=400, subset_size=subset
    )
    oracle.set_dtype(torch.float64)
    oracle.update(real, real=True)
    oracle.update(fake, real=False)
    torch.manual_seed(0)
    mean, deviation = map(float, oracle.compute())
    whole = subset == 200
    tolerance = 1e-9 * mean if whole else 6 * deviation / 400**0.5
    assert kid(real, fake, 400, subset) == pytest.approx(mean, abs=tolerance)


def test_inception_score() -> None:
    logits = 2 * normal(200, 30)
    oracle = oracle_is.InceptionScore(feature=AsTheyAre(), splits=1)
    oracle.update(logits)
    mean, _ = oracle.compute()
    assert inception_score(logits.softmax(dim=1), 1)[0] == pytest.approx(float(mean), rel=1e-5)
