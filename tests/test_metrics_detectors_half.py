"""Half precision changes FID by less than a thousandth, of real pictures and far from them."""

import pytest
import torch
from detector_helpers import digits, inception_state, noise, vgg16_state

from dnnlib.errors import UserError
from metrics.detectors import get_detector
from metrics.detectors.network import NetworkDetector
from metrics.fid import fid

CPU = torch.device("cpu")


def both(name, sides):
    """Features of each side in float32, and in float16."""
    whole, half = (get_detector(full, CPU) for full in (name, f"{name}:fp16"))
    assert (whole.name, whole.precision, half.precision) == (half.name, "fp32", "fp16")
    assert whole.digest == half.digest
    features = [[detector(images) for images in sides] for detector in (whole, half)]
    assert all(side.dtype == torch.float32 for sides in features for side in sides)
    return features


def assert_same_fid(whole, half):
    for other in range(1, len(whole)):
        exact = fid(whole[0], whole[other])
        assert not torch.equal(whole[other], half[other])
        assert fid(half[0], half[other]) == pytest.approx(exact, rel=1e-3)


def test_fid_of_real_digits_hardly_changes():
    """EfficientNet-Lite0 with its real weights: other digits, and digits on a bright ground."""
    images = digits(72)
    assert_same_fid(*both("efficientnet-lite0", [images[:36], images[36:], 255 - images[:36]]))


@pytest.mark.parametrize(("make", "size"), [(inception_state, 4), (vgg16_state, 2)])
def test_fid_in_synthetic_networks_hardly_changes(make, size, tmp_path):
    torch.save(make(), tmp_path / "weights.pth")
    images = digits(2 * size)
    assert_same_fid(*both(str(tmp_path / "weights.pth"), [images[:size], images[size:]]))


def test_most_of_the_weights_are_half(tmp_path):
    torch.save(inception_state(), tmp_path / "weights.pth")
    for name in ("efficientnet-lite0", str(tmp_path / "weights.pth")):
        network = get_detector(f"{name}:fp16", CPU).network
        kinds = dict.fromkeys((torch.float16, torch.float32), 0)
        for parameter in network.parameters():
            kinds[parameter.dtype] += parameter.numel()
        assert kinds[torch.float16] > kinds[torch.float32] > 0


class Mean(NetworkDetector):
    """Mean colours, with nothing that could be half."""

    name, num_features, resize = "mean", 3, "none"

    def prepare(self, pixels):
        return pixels


def test_a_network_without_half_layers_refuses_them():
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    images = noise(3, 3, 4, 4)
    means = Mean(network, "0" * 64, CPU)(images)
    torch.testing.assert_close(means, images.float().mean(dim=(2, 3)))
    with pytest.raises(UserError, match="--detector mean:fp16: has no fp16; leave out :fp16"):
        Mean(network, "0" * 64, CPU, "fp16")
