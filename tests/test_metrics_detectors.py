"""EfficientNet-Lite0 equals the published network, and treats pictures as documented."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dnnlib.errors import UserError
from metrics.detectors import get_detector
from metrics.detectors.base import resize_bicubic
from metrics.detectors.efficientnet_lite0 import SameConv2d
from metrics.fid import fid

# Of the port's own network (PyPI efficientnet-lite-pytorch 0.1.0) with our resize and scale:
# shape of the seeded noise, feature numbers, their values for both pictures, mean and standard
# deviation over all 1280 features.
PUBLISHED = [
    (
        (2, 3, 32, 32),
        [504, 747, 1259, 434],
        [[5.15296, 3.77397, 3.63829, 3.52969], [4.99874, 4.34606, 3.97519, 3.38967]],
        [0.10387, 0.11708],
        [0.3831, 0.40553],
    ),
    (
        (2, 1, 300, 256),
        [113, 120, 994, 455],
        [[5.82364, 3.94262, 3.73772, 3.58797], [5.7606, 3.18101, 4.01799, 3.89698]],
        [0.10199, 0.09792],
        [0.42443, 0.4129],
    ),
]


@pytest.fixture(scope="module")
def detector():
    return get_detector("efficientnet-lite0", torch.device("cpu"))


def noise(*shape, seed=0):
    return torch.from_numpy(np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8))


@pytest.mark.parametrize(("shape", "columns", "values", "mean", "deviation"), PUBLISHED)
def test_features_of_the_published_network(detector, shape, columns, values, mean, deviation):
    features = detector(noise(*shape))
    assert features.shape == (2, detector.num_features)
    assert features.dtype == torch.float32
    np.testing.assert_allclose(features[:, columns], values, atol=1e-4)
    np.testing.assert_allclose(features.mean(dim=1), mean, atol=2e-5)
    np.testing.assert_allclose(features.std(dim=1), deviation, atol=2e-5)


def test_weights_have_the_digest_in_their_file_name(detector):
    assert detector.digest.startswith("57934424")
    assert len(detector.digest) == 64


def test_building_a_detector_leaves_the_random_state_alone():
    before = torch.get_rng_state()
    get_detector("efficientnet-lite0", torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), before)


def test_batch_size_does_not_matter(detector):
    images = noise(19, 3, 32, 32)
    whole = detector(images)
    for size in (1, 7):
        parts = torch.cat([detector(batch) for batch in images.split(size)])
        torch.testing.assert_close(parts, whole, atol=1e-4, rtol=1e-5)


def test_gray_is_rgb_with_equal_channels(detector):
    gray = noise(3, 1, 32, 32)
    assert torch.equal(detector(gray), detector(gray.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize("channels", [2, 4])
def test_other_channels_are_refused(detector, channels):
    with pytest.raises(UserError, match=f"found {channels} channels"):
        detector(noise(1, channels, 32, 32))


def test_constant_pictures_give_finite_features(detector):
    images = torch.stack([torch.full((3, 16, 16), value) for value in (0, 128, 255)])
    features = detector(images.to(torch.uint8))
    assert features.isfinite().all()
    assert (features[0] - features[2]).abs().max() > 0.1


def test_resize_keeps_a_constant_and_does_not_alias():
    constant = torch.full((1, 1, 50, 70), 37.0)
    torch.testing.assert_close(resize_bicubic(constant, 24), torch.full((1, 1, 24, 24), 37.0))
    stripes = torch.tensor([0.0, 255.0]).repeat(128).expand(1, 1, 256, 256)
    assert (resize_bicubic(stripes, 64) - 127.5).abs()[..., 2:-2].max() < 5
    edge = torch.tensor([0.0] * 8 + [255.0] * 8).expand(1, 1, 16, 16)
    enlarged = resize_bicubic(edge, 64)
    assert (enlarged.min(), enlarged.max()) == (0, 255)


@pytest.mark.parametrize("size", [7, 8, 13, 14])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_same_padding_puts_the_odd_row_last(size, kernel, stride):
    torch.manual_seed(0)
    convolution = SameConv2d(4, 4, kernel, stride, groups=4)
    x = torch.randn(2, 4, size, size)
    num_outputs = -(-size // stride)
    total = max((num_outputs - 1) * stride + kernel - size, 0)
    first, last = total // 2, total - total // 2
    padded = F.pad(x, (first, last, first, last))
    expected = F.conv2d(padded, convolution.weight, convolution.bias, stride, groups=4)
    assert expected.shape[2:] == (num_outputs, num_outputs)
    torch.testing.assert_close(convolution(x), expected)


def squares(count, seed):
    """Coloured squares on coloured grounds."""
    random = np.random.RandomState(seed)
    images = np.empty((count, 3, 32, 32), np.uint8)
    for image in images:
        image[:] = random.randint(0, 256, (3, 1, 1))
        top, left = random.randint(0, 16, 2)
        image[:, top : top + 14, left : left + 14] = random.randint(0, 256, (3, 1, 1))
    return torch.from_numpy(images)


def test_distance_grows_with_distortion(detector):
    real = detector(squares(48, seed=1))
    images = squares(48, seed=2)
    grain = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    distances = [
        fid(real, detector((images + amount * grain).clamp(0, 255).byte()))
        for amount in (0, 10, 40)
    ]
    assert distances[0] < distances[1] < distances[2]
