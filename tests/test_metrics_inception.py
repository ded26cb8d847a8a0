"""FID-Inception gives the published outputs, from weight files and from nothing else."""

import json
import logging
import zlib

import numpy as np
import pytest
import torch
from conftest import DATA
from torch.nn import functional as F

from dnnlib.errors import UserError
from dnnlib.files import cache_dir, sha256_file
from dnnlib.logs import logger
from metrics.detectors import ClassDetector, get_detector
from metrics.detectors.inception import WEIGHT_FILES, InceptionDetector, resize_tf_bilinear
from metrics.detectors.inception_network import Inception, fold_batch_norm, published_shapes

CPU = torch.device("cpu")


def synthetic(name, shape):
    """The tensor that the vectors were made with (recipe of their README)."""
    random = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    if name.endswith(("running_var", "bn.weight")):
        values = random.uniform(0.5, 1.5, shape)
    elif name.endswith(("running_mean", "bias")):
        values = 0.1 * random.randn(*shape)
    else:
        values = random.randn(*shape) * np.sqrt(2 / np.prod(shape[1:]))
    return torch.from_numpy(values.astype(np.float32))


@pytest.fixture(scope="module")
def vectors():
    with np.load(DATA / "inception.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def state(vectors):
    shapes = json.loads(str(vectors["meta"]))["shapes"]
    return {name: synthetic(name, shape) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def weights(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "synthetic.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def detector(weights):
    return get_detector(str(weights), CPU)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DUDGAN_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def warnings():
    """Messages of our logger's warnings, whoever has set logging up before."""
    messages = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


def noise(*shape, seed=0):
    return torch.from_numpy(np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8))


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


def test_detector_gives_published_features_from_a_file(vectors, weights, warnings):
    before = torch.get_rng_state()
    detector = get_detector(str(weights), CPU)
    assert torch.equal(torch.get_rng_state(), before)
    features = detector(torch.from_numpy(vectors["images"]))
    assert (features.shape, features.dtype) == ((3, detector.num_features), torch.float32)
    np.testing.assert_allclose(features, vectors["out.2048"], rtol=0, atol=5e-5)
    assert (detector.name, detector.resize) == ("inception", "tf-bilinear-299")
    assert detector.digest == sha256_file(weights)
    assert len(warnings) == 1
    assert f"{detector.digest[:8]}, not 6726825d" in warnings[0]


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


# Weight files


@pytest.mark.parametrize("name", WEIGHT_FILES)
def test_weights_are_found_in_the_cache(name, weights, warnings):
    folder = cache_dir() / "detectors"
    folder.mkdir(parents=True)
    (folder / name).symlink_to(weights)
    assert get_detector("inception", CPU).digest == sha256_file(weights)
    assert len(warnings) == 1
    assert warnings[0].startswith(f"{folder / name}: is not the public file")


def test_the_public_file_gives_no_warning(weights, warnings, monkeypatch):
    digest = "6726825d" + 56 * "0"
    monkeypatch.setattr("metrics.detectors.inception.sha256_file", lambda path: digest)
    assert InceptionDetector(CPU, weights).digest == digest
    assert warnings == []


def told(path):
    """What is said about a file of weights, a single line."""
    with pytest.raises(UserError) as caught:
        get_detector(str(path), CPU)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_weights_say_where_to_put_which_file():
    said = told("inception")
    assert f"put {WEIGHT_FILES[0]}" in said
    assert str(cache_dir() / "detectors") in said
    assert "use --detector efficientnet-lite0" in said


WRONG_TENSORS = {
    "missing": ({"Mixed_5b.branch1x1.bn.bias": None}, "has no tensor Mixed_5b.branch1x1.bn.bias;"),
    "no tensor": ({"fc.bias": 3.0}, "has no tensor fc.bias;"),
    "ImageNet": (
        {"fc.weight": torch.zeros(1000, 2048)},
        "fc.weight is float32 [1000, 2048] and not float [1008, 2048];",
    ),
    "integers": (
        {"fc.bias": torch.zeros(1008, dtype=torch.int64)},
        "fc.bias is int64 [1008] and not float [1008];",
    ),
    "first of two": (
        {"Mixed_7c.branch1x1.conv.weight": None, "Conv2d_1a_3x3.conv.weight": torch.zeros(1)},
        "Conv2d_1a_3x3.conv.weight is float32 [1] and not float [32, 3, 3, 3];",
    ),
}


@pytest.mark.parametrize(("changes", "part"), WRONG_TENSORS.values(), ids=WRONG_TENSORS)
def test_wrong_tensors_are_named(changes, part, tmp_path):
    small = {name: torch.zeros(1).expand(shape) for name, shape in expected_shapes().items()}
    kept = {name: value for name, value in (small | changes).items() if value is not None}
    torch.save(kept, tmp_path / "wrong.pth")
    said = told(tmp_path / "wrong.pth")
    assert part in said
    assert WEIGHT_FILES[0] in said


def expected_shapes():
    with torch.device("meta"):
        return published_shapes(Inception())


class Bomb:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("code of a weights file was run",)


def test_files_that_are_no_state_dict(tmp_path):
    path = tmp_path / "file.pth"
    path.write_bytes(b"")
    assert "is not a state dict of PyTorch" in told(path)
    path.write_bytes(b"PK\x03\x04 garbage")
    assert "is not a state dict of PyTorch" in told(path)
    torch.save({"fc.bias": Bomb()}, path)
    assert "is not a state dict of PyTorch (UnpicklingError)" in told(path)
    torch.save([torch.zeros(3)], path)
    assert "holds no state dict but a list" in told(path)


def test_cut_file_is_told(weights, tmp_path):
    path = tmp_path / "cut.pth"
    path.write_bytes(weights.read_bytes()[:-1000])
    assert "is not a state dict of PyTorch" in told(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit is on its way out
def test_torchscript_is_never_run(tmp_path, monkeypatch):
    path = tmp_path / "inception-2015-12-05.pt"
    torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)), path)
    monkeypatch.setattr(torch.jit, "load", lambda *args: pytest.fail("a program was run"))
    said = told(path)
    assert "is a TorchScript program, which is not run; use pt_inception" in said
