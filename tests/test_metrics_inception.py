"""FID-Inception gives the published outputs, from its public weight files and from nothing else."""

import numpy as np
import pytest
import torch
from conftest import DATA
from detector_helpers import inception_state, logged_warnings, noise
from torch.nn import functional as F

from dnnlib.errors import UserError
from dnnlib.files import sha256_file
from metrics.detectors import ClassDetector, get_detector
from metrics.detectors.inception import InceptionDetector, resize_tf_bilinear
from metrics.detectors.inception_network import Inception, fold_batch_norm, published_shapes
from metrics.detectors.weights import WeightsFile

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def vectors():
    with np.load(DATA / "inception.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def state():
    return inception_state()


@pytest.fixture(scope="module")
def weights(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "synthetic.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def detector(weights):
    return get_detector(str(weights), CPU)


# The network


def test_every_output_is_the_published_one(vectors, state):
    with torch.device("meta"):
        network = Inception().eval().requires_grad_(False)
    shapes = {name: tensor.shape for name, tensor in state.items()}
    assert published_shapes(network) == shapes
    network.load_state_dict(fold_batch_norm(state), assign=True)
    images = resize_tf_bilinear(torch.from_numpy(vectors["images"]).float(), 299)
    outputs = [maps.mean(dim=(2, 3)) for maps in network.maps((images - 128) / 128)]
    assert [output.shape[1] for output in outputs] == [64, 192, 768, 2048]
    for output in outputs:
        np.testing.assert_allclose(output, vectors[f"out.{output.shape[1]}"], rtol=0, atol=5e-5)
    features = outputs[-1]
    unbiased = F.linear(features, network.fc.weight)
    np.testing.assert_allclose(unbiased, vectors["out.logits_unbiased"], rtol=0, atol=5e-5)
    np.testing.assert_allclose(network.fc(features), vectors["out.logits"], rtol=0, atol=5e-5)


# The resize


def resized_by_formula(image, size):
    """`image` [H, W] of float64 on the grid with source = destination * scale, pixel by pixel."""
    height, width = image.shape
    result = np.empty((size, size))
    for row in range(size):
        for column in range(size):
            y, x = row * height / size, column * width / size
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = image[top, left] + (image[top, right] - image[top, left]) * (x - left)
            lower = image[bottom, left] + (image[bottom, right] - image[bottom, left]) * (x - left)
            result[row, column] = upper + (lower - upper) * (y - top)
    return result


@pytest.mark.parametrize("shape", [(5, 7), (64, 13), (13, 31), (1, 2), (31, 62)])
def test_resize_is_the_graph_s(shape):
    image = noise(*shape).double().numpy()
    found = resize_tf_bilinear(torch.from_numpy(image).float()[None, None], 31)
    np.testing.assert_allclose(found[0, 0], resized_by_formula(image, 31), atol=1e-3)


def test_resize_by_two_takes_every_second_pixel_and_the_same_size_all():
    images = noise(2, 3, 16, 16).float()
    assert torch.equal(resize_tf_bilinear(images, 8), images[:, :, ::2, ::2])
    assert torch.equal(resize_tf_bilinear(images, 16), images)


# The detector


def test_detector_gives_published_features_from_a_file(vectors, weights):
    before = torch.get_rng_state()
    with logged_warnings() as warnings:
        detector = get_detector(str(weights), CPU)
    assert torch.equal(torch.get_rng_state(), before)
    features = detector(torch.from_numpy(vectors["images"]))
    assert (features.shape, features.dtype) == ((3, detector.num_features), torch.float32)
    np.testing.assert_allclose(features, vectors["out.2048"], rtol=0, atol=5e-5)
    assert (detector.name, detector.resize, detector.precision) == (
        "inception",
        "tf-bilinear-299",
        "fp32",
    )
    assert detector.digest == sha256_file(weights)
    assert len(warnings) == 1
    assert f"starts with {detector.digest[:8]}, which is none of the known" in warnings[0]


@pytest.mark.parametrize(
    "start", ["6726825d", "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"]
)
def test_the_public_files_give_no_warning(start, state, weights):
    digest = start.ljust(64, "0")
    with logged_warnings() as warnings:
        assert InceptionDetector(WeightsFile(weights, digest, state, False), CPU).digest == digest
    assert warnings == []


def test_probabilities_are_of_the_unbiased_logits(vectors, detector):
    assert isinstance(detector, ClassDetector)
    assert not isinstance(get_detector("efficientnet-lite0", CPU), ClassDetector)
    found = detector.probabilities(torch.from_numpy(vectors["out.2048"]))
    logits = vectors["out.logits_unbiased"].astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_gray_is_rgb_with_equal_channels_in_any_batch(detector):
    gray = noise(9, 1, 20, 24)
    features = detector(gray)
    rgb = detector(gray[7:].repeat(1, 3, 1, 1))
    torch.testing.assert_close(features[7:], rgb, atol=1e-4, rtol=1e-5)
    assert (features[7] - features[8]).abs().max() > 0.1


@pytest.mark.parametrize("channels", [2, 4])
def test_other_channels_are_refused(detector, channels):
    with pytest.raises(UserError, match=f"found {channels} channels"):
        detector(noise(1, channels, 32, 32))
