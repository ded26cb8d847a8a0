"""Weights come from the cache or a checked download, and wrong files are told in a line."""

import dataclasses
import hashlib

import pytest
import torch
from detector_helpers import inception_state, logged_warnings, web_server

from dnnlib.errors import UserError
from dnnlib.files import cache_dir, sha256_file
from metrics.detectors import get_detector
from metrics.detectors.inception import INCEPTION_WEIGHTS
from metrics.detectors.inception_network import Inception, published_shapes
from metrics.detectors.perceptual import LINEAR_WEIGHTS
from metrics.detectors.vgg16 import VGG16_WEIGHTS
from metrics.detectors.weights import PublicFile, PublicWeights

CPU = torch.device("cpu")
CONTENT = b"weights" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DUDGAN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("DUDGAN_OFFLINE", raising=False)


@pytest.fixture
def site():
    with web_server({"/net.pth": CONTENT, "/other.pth": b"something else"}) as (address, asked):
        yield address, asked


def weights(*files):
    return PublicWeights("--detector thing", files, "or use --detector efficientnet-lite0")


def complaint(public):
    with pytest.raises(UserError) as caught:
        public.locate()
    assert "\n" not in str(caught.value)
    assert not any(path.is_file() for path in cache_dir().rglob("*"))
    return str(caught.value)


# Where they come from


@pytest.mark.parametrize("known", [DIGEST, DIGEST[:8]])
def test_downloads_are_made_once(site, known):
    address, asked = site
    public = weights(PublicFile("net.pth", known, f"{address}/net.pth"))
    path = public.locate()
    assert path.read_bytes() == CONTENT
    assert public.locate() == path
    assert asked == ["/net.pth"]


def test_files_in_the_cache_come_first(site):
    address, asked = site
    path = cache_dir() / "detectors" / "second.pt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"by hand")
    public = weights(PublicFile("net.pth", DIGEST, f"{address}/net.pth"), PublicFile("second.pt"))
    assert public.locate() == path
    assert asked == []


@pytest.mark.parametrize("page", ["none", "cut/net.pth", "other.pth"])
def test_the_next_mirror_is_asked_where_one_fails(site, page):
    address, asked = site
    files = [PublicFile("a.pth", DIGEST, f"{address}/{name}") for name in (page, "net.pth")]
    assert weights(*files).locate().read_bytes() == CONTENT
    assert asked == [f"/{page}", "/net.pth"]


def test_failed_downloads_leave_nothing_and_say_what_to_do(site):
    address, _ = site

    def said(page, known=DIGEST):
        return complaint(weights(PublicFile("net.pth", known, f"{address}/{page}")))

    assert said("none").startswith("--detector thing: its weights cannot be had (http://127.0.0.1")
    assert "download failed (HTTPError)" in said("none")
    assert "download failed" in said("cut/net.pth")
    assert f"expected SHA-256 {DIGEST}, got " in said("other.pth")
    assert f"expected SHA-256 {DIGEST[:-1]}0, got {DIGEST}" in said("net.pth", DIGEST[:-1] + "0")
    put = f"; put net.pth into {cache_dir() / 'detectors'}, or use --detector efficientnet-lite0"
    assert said("none").endswith(put)


def test_without_a_network_the_line_is_the_same():
    unreachable = PublicFile("net.pth", DIGEST, "http://127.0.0.1:9/net.pth")
    said = complaint(weights(unreachable))
    assert "download failed (ConnectionError)" in said and "; put net.pth into" in said


def test_nothing_is_downloaded_where_that_is_forbidden(site, monkeypatch):
    address, asked = site
    monkeypatch.setenv("DUDGAN_OFFLINE", "1")
    said = complaint(weights(PublicFile("net.pth", DIGEST, f"{address}/net.pth")))
    assert "cannot be had (DUDGAN_OFFLINE is set); put net.pth" in said
    assert asked == []


def test_public_files_can_be_checked_before_use():
    for public in (INCEPTION_WEIGHTS, VGG16_WEIGHTS, LINEAR_WEIGHTS):
        assert public.files[0].url is not None
        for file in public.files:
            if file.url is not None:
                assert file.url.startswith("https://") and file.url.endswith(file.name)
                # The whole digest, or the part of it that stands in the file's name.
                assert len(file.sha256) == 64 or f"-{file.sha256}.pth" in file.name


@pytest.mark.parametrize(
    ("name", "file", "works"),
    [
        ("inception", "pt_inception-2015-12-05-6726825d.pth", "the Inception Score does not"),
        ("vgg16:fp16", "vgg16-397923af.pth", "perceptual path length does not"),
    ],
)
def test_missing_weights_say_which_file_goes_where_and_what_works_without(
    name, file, works, monkeypatch
):
    monkeypatch.setenv("DUDGAN_OFFLINE", "1")
    said = told(name)
    assert f"put {file} into {cache_dir() / 'detectors'}, or name the file" in said
    assert "use --detector efficientnet-lite0, which needs no file" in said and works in said


def test_a_downloaded_file_becomes_a_detector(site, tmp_path, monkeypatch):
    """From the command line's name to the network, on a file that turns out to be no weights."""
    address, asked = site
    file = PublicFile("net.pth", DIGEST, f"{address}/net.pth")
    public = dataclasses.replace(INCEPTION_WEIGHTS, files=(file,))
    monkeypatch.setattr("metrics.detectors.INCEPTION_WEIGHTS", public)
    assert "-net.pth: is not a state dict of PyTorch" in told("inception")
    assert asked == ["/net.pth"]


# What is in them


@pytest.mark.parametrize("file", INCEPTION_WEIGHTS.files, ids=lambda file: file.name)
def test_inception_is_found_in_the_cache(file):
    folder = cache_dir() / "detectors"
    folder.mkdir(parents=True)
    torch.save(inception_state(), folder / file.name)
    with logged_warnings() as warnings:
        assert get_detector("inception", CPU).digest == sha256_file(folder / file.name)
    assert len(warnings) == 1 and warnings[0].startswith(f"{folder / file.name}: its SHA-256")


def told(path):
    """What is said about a detector that cannot be had, a single line."""
    with pytest.raises(UserError) as caught:
        get_detector(str(path), CPU)
    assert "\n" not in str(caught.value)
    return str(caught.value)


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
    with torch.device("meta"):
        shapes = published_shapes(Inception())
    small = {name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}
    kept = {name: value for name, value in (small | changes).items() if value is not None}
    torch.save(kept, tmp_path / "wrong.pth")
    said = told(tmp_path / "wrong.pth")
    assert part in said
    assert INCEPTION_WEIGHTS.files[0].name in said


class Bomb:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("code of a weights file was run",)


@pytest.mark.parametrize("zipped", [True, False])
def test_files_that_are_no_state_dict(tmp_path, zipped):
    path = tmp_path / "file.pth"
    path.write_bytes(b"")
    assert "is not a state dict of PyTorch" in told(path)
    path.write_bytes(b"PK\x03\x04 garbage")
    assert "is not a state dict of PyTorch" in told(path)
    torch.save({"fc.bias": Bomb()}, path, _use_new_zipfile_serialization=zipped)
    assert "is not a state dict of PyTorch (UnpicklingError)" in told(path)
    torch.save([torch.zeros(3)], path, _use_new_zipfile_serialization=zipped)
    assert "holds no state dict but a list" in told(path)
    torch.save({"weight": torch.zeros(3000)}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:-1000])
    assert "is not a state dict of PyTorch" in told(path)


def test_unknown_detectors_name_those_there_are():
    said = told("resnet")
    assert "there is no 'resnet'; choose from inception, vgg16, efficientnet-lite0, each" in said
    assert "there is no 'resnet:fp16'" in told("resnet:fp16")
