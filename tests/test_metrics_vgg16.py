"""VGG16 and the distances taken in it equal their definitions, from its public weight files."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics.functional.image
from detector_helpers import VGG16_LAYOUT, logged_warnings, noise, vgg16_state
from torch.nn import functional as F

from dnnlib.errors import UserError
from dnnlib.files import cache_dir, sha256_file
from metrics.detectors import get_detector, get_perceptual
from metrics.detectors.base import resize_bicubic
from metrics.detectors.perceptual import LINEAR_WEIGHTS

CPU = torch.device("cpu")
# The file of the lpips package, in a package that only tests use.
LPIPS_FILE = Path(torchmetrics.functional.image.__file__).parent / "lpips_models" / "vgg.pth"


@pytest.fixture(scope="module")
def state():
    return vgg16_state()


@pytest.fixture(scope="module")
def weights(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "vgg16-397923af.pth"
    torch.save(state, path)
    return path


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DUDGAN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("DUDGAN_OFFLINE", "1")


def put_in_cache(path, name):
    (cache_dir() / "detectors").mkdir(parents=True, exist_ok=True)
    (cache_dir() / "detectors" / name).symlink_to(path)


def by_hand(state, pixels):
    """Maps before each maximum, and the second fully connected layer, of pixels in 0..255."""
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    h = (pixels / 255 - mean[:, None, None]) / deviation[:, None, None]
    maps, number = [], 0
    for entry in VGG16_LAYOUT:
        if entry == "M":
            maps.append(h)
            h = F.max_pool2d(h, 2, 2)
        else:
            name = f"features.{number}"
            h = F.conv2d(h, state[f"{name}.weight"], state[f"{name}.bias"], padding=1).relu()
            number += 1  # of the ReLU
        number += 1
    h = h.reshape(len(h), -1)
    if h.shape[1] == 25088:
        for name in ("classifier.0", "classifier.3"):
            h = (h @ state[f"{name}.weight"].T + state[f"{name}.bias"]).relu()
    return maps, h


def test_features_are_the_second_fully_connected_layer(state, weights):
    with logged_warnings() as warnings:
        detector = get_detector(str(weights), CPU)
    assert (detector.name, detector.precision, detector.num_features) == ("vgg16", "fp32", 4096)
    assert detector.digest == sha256_file(weights)
    assert len(warnings) == 1 and "none of the known files (397923af)" in warnings[0]
    images = noise(2, 3, 40, 30)
    features = detector(images)
    _, expected = by_hand(state, resize_bicubic(images.float(), 224))
    assert expected.std() > 0.05 and (expected == 0).any()
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["vgg16-397923af.pth", "vgg16.pt"])
def test_weights_are_found_in_the_cache(name, weights):
    put_in_cache(weights, name)
    assert get_detector("vgg16", CPU).digest == sha256_file(weights)


def test_the_published_file_is_in_the_older_format(state, weights, tmp_path):
    path = tmp_path / "older.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    older, newer = (get_detector(str(file), CPU) for file in (path, weights))
    for ours, theirs in zip(older.network.parameters(), newer.network.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_tensors_of_another_vgg_are_told(state, tmp_path):
    wider = state | {"classifier.3.weight": torch.zeros(1).expand(1000, 4096)}
    torch.save(wider, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"classifier.3.weight is float32 \[1000, 4096\] and not"):
        get_detector(str(tmp_path / "other.pth"), CPU)


# Perceptual distance


def distance_by_formula(state, linear, a, b):
    """Zhang et al., eq. 1, in numpy and float64."""
    total = np.zeros(len(a))
    for map_a, map_b, weight in zip(
        by_hand(state, a)[0], by_hand(state, b)[0], linear, strict=True
    ):
        x, y = map_a.double().numpy(), map_b.double().numpy()
        x /= np.sqrt((x**2).sum(axis=1, keepdims=True)) + 1e-10
        y /= np.sqrt((y**2).sum(axis=1, keepdims=True)) + 1e-10
        squares = (weight.double().numpy().reshape(1, -1, 1, 1) * (x - y) ** 2).sum(axis=1)
        total += squares.mean(axis=(1, 2))
    return total


@pytest.fixture
def pair():
    a = noise(3, 3, 32, 48).float()
    b = (a + 40 * torch.randn(a.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 255)
    return a, b


def test_lpips_equals_its_equation(state, weights, pair):
    put_in_cache(weights, "vgg16-397923af.pth")
    put_in_cache(LPIPS_FILE, "vgg.pth")
    with logged_warnings() as warnings:
        distance = get_perceptual(CPU)
    assert len(warnings) == 1 and "vgg16-397923af.pth" in warnings[0]  # not the linear weights
    assert (distance.name, distance.resize, distance.precision) == ("vgg16-lpips", "none", "fp32")
    published = torch.load(LPIPS_FILE, map_location="cpu", weights_only=True)
    linear = [published[f"lin{number}.model.1.weight"] for number in range(5)]
    found = distance(*pair)
    assert (found.shape, found.dtype) == ((3,), torch.float32)
    np.testing.assert_allclose(found, distance_by_formula(state, linear, *pair), rtol=1e-4)
    torch.testing.assert_close(distance(pair[1], pair[0]), found)
    assert torch.equal(distance(pair[0], pair[0]), torch.zeros(3))


def test_without_linear_weights_it_is_the_plain_distance_and_says_so(state, weights, pair):
    put_in_cache(weights, "vgg16-397923af.pth")
    with logged_warnings() as warnings:
        distance = get_perceptual(CPU)
    assert distance.name == "vgg16-plain" and distance.digest == sha256_file(weights)
    assert "plain distances of VGG16 and not LPIPS" in warnings[1]
    assert f"put vgg.pth into {cache_dir() / 'detectors'}" in warnings[1]
    linear = [torch.ones(channels) for channels in (64, 128, 256, 512, 512)]
    np.testing.assert_allclose(
        distance(*pair), distance_by_formula(state, linear, *pair), rtol=1e-4
    )
    put_in_cache(LPIPS_FILE, "vgg.pth")
    with logged_warnings():
        assert get_perceptual(CPU).digest != distance.digest


def test_the_linear_weights_are_the_known_file():
    assert sha256_file(LPIPS_FILE) == LINEAR_WEIGHTS.files[0].sha256


def test_small_steps_are_not_lost_to_rounding(weights, pair):
    """Path length divides by ε²: pictures are not rounded, and distances grow with the square."""
    put_in_cache(weights, "vgg16-397923af.pth")
    with logged_warnings():
        distance = get_perceptual(CPU)
    a, b = pair
    whole, half = (distance(a, a + (b - a) * share) for share in (2e-2, 1e-2))
    assert ((whole / half - 4).abs() < 0.4).all()


def test_gray_is_rgb_and_small_pictures_are_refused(weights):
    put_in_cache(weights, "vgg16-397923af.pth")
    with logged_warnings():
        distance = get_perceptual(CPU)
    a, b = noise(1, 1, 16, 16).float(), noise(1, 1, 16, 16, seed=1).float()
    rgb = distance(a.repeat(1, 3, 1, 1), b.repeat(1, 3, 1, 1))
    torch.testing.assert_close(distance(a, b), rgb)
    with pytest.raises(UserError, match=r"at least 16 pixels a side, found 16x8; leave out path"):
        distance(a[:, :, :8], b[:, :, :8])


def test_missing_weights_leave_no_distance():
    with pytest.raises(UserError, match=r"put vgg16-397923af.pth into .*path length does not"):
        get_perceptual(CPU)
