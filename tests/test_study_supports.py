"""benchmarks/supports.py: divergences against known values, draws and each other."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from data_helpers import png, write_folder
from network_helpers import complaint, exit_status
from torch.nn import functional as F

from benchmarks.critics import train_critic
from benchmarks.divergences import (
    LOG2,
    divergence,
    divergence_untold,
    gaussian_jsd,
    gaussian_jsd_slope,
    jsd_of_densities,
    sensitivity,
)
from benchmarks.supports import Noise, distance_of, image_distances, main
from training.data.dataset import DataConfig, open_dataset
from training.diffusion import DiffusionConfig
from training.study.quantities import diffusion_at


def noise(t_max: int = 40, noise_sd: float = 0.1) -> Noise:
    return Noise(DiffusionConfig(noise_sd=noise_sd, t_min=1, t_max=t_max))


def normal(x: torch.Tensor, mean: float = 0.0) -> torch.Tensor:
    return torch.distributions.Normal(mean, 1.0).log_prob(x).exp()


def test_identical_gaussians_have_none_and_distant_ones_log_2() -> None:
    ends = gaussian_jsd(torch.tensor([0.0, 16.0, 1e6, math.inf]))
    expected = torch.tensor([0.0, LOG2, LOG2, LOG2], dtype=torch.float64)
    torch.testing.assert_close(ends, expected, atol=1e-12, rtol=0)
    assert gaussian_jsd_slope(torch.tensor(0.0)) == pytest.approx(0, abs=1e-12)


def test_close_gaussians_have_an_eighth_of_the_square() -> None:
    u = torch.tensor([0.01, 0.02], dtype=torch.float64)
    torch.testing.assert_close(gaussian_jsd(u), u.square() / 8, rtol=1e-4, atol=0)


@pytest.mark.parametrize("u", [0.5, 2.0, 5.0])
def test_gaussians_agree_with_draws_and_with_densities(u: float) -> None:
    torch.manual_seed(0)
    x = torch.randn(400_000, dtype=torch.float64)
    half = LOG2 - F.softplus(-(u * u / 2 - u * x)).mean()  # both halves are alike
    exact = float(gaussian_jsd(torch.tensor(u)))
    assert exact == pytest.approx(float(half), abs=3e-3)
    grid = torch.arange(-10, 10 + u, 0.01, dtype=torch.float64)
    assert float(jsd_of_densities(normal(grid), normal(grid, u), 0.01)) == pytest.approx(exact)


def test_densities_that_are_equal_or_do_not_meet() -> None:
    p = torch.tensor([0.0, 0.5, 0.5, 0.0, 0.0, 0.0]).double()
    assert jsd_of_densities(p, p, 1.0) == 0
    assert float(jsd_of_densities(p, p.roll(2), 1.0)) == pytest.approx(LOG2)
    assert float(jsd_of_densities(p, p.roll(1), 1.0)) == pytest.approx(LOG2 / 2)


def test_slopes_are_those_of_the_divergence() -> None:
    u = torch.tensor([0.1, 1.0, 4.0], dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(gaussian_jsd(u).sum(), u)
    torch.testing.assert_close(gaussian_jsd_slope(u.detach()), expected)
    process, d, step = noise(), torch.tensor([0.02, 0.1]).double(), 1e-4
    for view in process.views:
        above = divergence(view.law, process.snr, d * math.exp(step))
        below = divergence(view.law, process.snr, d * math.exp(-step))
        slope = sensitivity(view.law, process.snr, d)
        torch.testing.assert_close(slope, (above - below) / (2 * step), rtol=1e-5, atol=1e-9)


def test_each_view_is_the_mean_over_its_timesteps() -> None:
    process, d = noise(), torch.tensor([0.05]).double()
    clean, weak, strong, mixture, half = (
        float(divergence(view.law, process.snr, d)) for view in process.views
    )
    assert clean == pytest.approx(LOG2)
    assert half == pytest.approx((clean + mixture) / 2)
    assert strong < mixture < weak < clean
    each = gaussian_jsd(d * process.snr[1:].sqrt())
    t = torch.arange(1, 41).double()
    assert mixture == pytest.approx(float((t / t.sum() * each).sum()))


def test_a_discriminator_that_is_not_told_t_tells_less_or_at_one_level_as_much() -> None:
    process = noise()
    for d in (0.02, 0.1):
        at = torch.tensor([d], dtype=torch.float64)
        for number, view in enumerate(process.views):
            told = float(divergence(view.law, process.snr, at))
            untold = float(divergence_untold(view.law, process.alphas_bar, 0.1, d))
            if number < 3:  # one timestep: nothing to be told
                assert untold == pytest.approx(told, abs=1e-9)
            else:
                assert 0 < untold < told - 0.01


def test_the_distance_of_a_share_is_the_inverse_of_the_divergence() -> None:
    process = noise()
    for view in process.views[1:4]:
        distance = distance_of(view, process.snr, 0.3)
        value = divergence(view.law, process.snr, torch.tensor([distance]).double())
        assert float(value) == pytest.approx(0.3 * LOG2, rel=1e-3)


def test_a_trained_discriminator_comes_close_to_the_optimum() -> None:
    process, d = noise(t_max=200), 0.3
    diffusion = diffusion_at(process.config, 200)
    clean, mixed = process.views[0], process.views[3]
    verdicts = [
        train_critic(
            d, diffusion, lambda count, law=view.law: torch.multinomial(law, count, True), 0
        )
        for view in (clean, mixed)
    ]
    exact = float(divergence(mixed.law, process.snr, torch.tensor([d])))
    assert verdicts[0].jsd == pytest.approx(LOG2, abs=5e-3)
    assert 0.85 * exact < verdicts[1].jsd < 1.02 * exact
    assert verdicts[0].saturating < 0.1 < verdicts[1].saturating  # a sure D has nothing to say
    assert verdicts[1].gradient < verdicts[0].gradient
    assert min(verdict.alignment for verdict in verdicts) > 0.8


def test_distances_of_pictures(tmp_path: Path) -> None:
    files = {f"{name}/{number}.png": png(number, 8, 8, 1) for number in range(3) for name in "ab"}
    dataset = open_dataset(DataConfig(path=str(write_folder(tmp_path, files))))
    distances = image_distances(dataset)
    assert distances["one grey level"] == pytest.approx(2 / 255 * 8)
    assert distances["nearest other picture"] == pytest.approx(0, abs=1e-2)  # each is there twice
    images = dataset.load_images(1).float() / 127.5 - 1
    brightness = (images + 1).flatten(1).norm(dim=1).median()
    assert distances["darker by a tenth"] == pytest.approx(0.1 * float(brightness))
    assert min(distances["moved by a pixel"], distances["another of its class"]) > 1


def test_the_command_prints_its_tables_and_draws_the_chart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_folder(tmp_path / "data", {f"{n}.png": png(n, 8, 8, 3) for n in range(4)})
    out = tmp_path / "chart.png"
    assert exit_status(main, "--horizon", 20, "--data", data, "--out", out) == 0
    lines = capsys.readouterr().out.splitlines()
    table = {line[:28].strip(): line[28:].split() for line in lines}
    assert table["no noise"] == ["1.000"] * 8
    assert [float(cell) for cell in table["mixture of 1..20"]] == sorted(
        float(cell) for cell in table["mixture of 1..20"]
    )
    assert len(table["one grey level"]) == 5 and out.is_file()


def test_another_format_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = complaint(capsys, main, "--out", tmp_path / "chart.gif")
    assert "--out: a .png or .webp file" in message
