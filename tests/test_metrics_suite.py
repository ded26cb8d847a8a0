"""Names, features and their cache, evaluation in one pass."""

import logging
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dnnlib.errors import UserError
from dnnlib.files import cache_dir
from dnnlib.logs import logger
from metrics.features import compute_features, real_features
from metrics.fid import fid
from metrics.images import fair_sample
from metrics.inception_score import inception_score
from metrics.kid import kid
from metrics.precision_recall import precision_recall
from metrics.suite import evaluate, parse_metric, parse_metrics


@dataclass
class Pixels:
    """A detector whose features are the pixels."""

    name: str = "pixels"
    digest: str = "abc"
    resize: str = "none"
    num_features: int = 12
    seen: int = 0

    def __call__(self, images):
        self.seen += len(images)
        return images.flatten(1).float() / 255


@dataclass
class Pictures:
    """A data set, and a generator that makes its pictures in order."""

    images: torch.Tensor
    digest: str = "data"
    mirror: bool = False
    description: dict = field(default_factory=lambda: {"network": "a.safetensors", "trunc": 1.0})

    @property
    def num_images(self):
        return len(self.images)

    def batches(self, indices, batch_size):
        chosen = self.images[:indices] if isinstance(indices, int) else self.images[indices]
        return iter(chosen.split(batch_size))


def pictures(count, seed=0, low=0, **facts):
    generator = torch.Generator().manual_seed(seed)
    shape = (count, 3, 2, 2)
    images = torch.randint(low, 256, shape, generator=generator, dtype=torch.uint8)
    return Pictures(images, **facts)


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


# Names


@given(
    st.sampled_from([("fid", ""), ("kid", ""), ("pr", "3")]),
    st.integers(min_value=4, max_value=10_000),
    st.booleans(),
    st.booleans(),
)
def test_names_mean_what_they_say(family, number, thousands, full):
    prefix, suffix = family
    name = f"{prefix}{number}{'k' * thousands}{suffix}{'_full' * full}"
    metric = parse_metric(name)
    assert (metric.family.prefix, metric.name, metric.full) == (prefix, name, full)
    assert metric.count == number * (1000 if thousands else 1)
    assert metric.num_real(10**9) == (10**9 if full else metric.count)
    assert metric.num_real(3) == 3


@given(st.text(max_size=12))
def test_any_other_name_is_a_user_error(name):
    try:
        assert parse_metric(name).name == name
    except UserError as error:
        assert "\n" not in str(error).replace(name, "")


@pytest.mark.parametrize(
    "name",
    (
        *("", "fid", "fid_full", "fid0", "fid05k", "fid50K", "fid50k_", "fid50k_full "),
        *("pr3", "pr50k_full", "pr50k4_full", "pr500_full", "ppl2_wend", "fid٣k", "fid999999999k"),
        *("is", "is50k_full", "is50k3"),
    ),
)
def test_unknown_names_list_what_there_is(name):
    with pytest.raises(UserError, match=r"choose from fid50k_full, kid50k_full, pr50k3_full"):
        parse_metric(name)


@pytest.mark.parametrize("name", ["fid1", "kid1_full", "pr33", "is9", "fid99999k"])
def test_impossible_counts(name):
    with pytest.raises(UserError, match=rf"--metrics: {name} takes \d+ to 10000000 images"):
        parse_metric(name)


def test_the_last_digit_of_pr_is_the_neighbourhood():
    assert parse_metric("pr503_full").count == 50
    assert parse_metric("pr50k3_full").count == 50_000
    assert parse_metric("pr5003").count == 500


def test_repeated_names_are_computed_once():
    names = [metric.name for metric in parse_metrics(["kid1k", "fid1k", "kid1k", "kid1000"])]
    assert names == ["kid1k", "fid1k", "kid1000"]


# Features


def test_features_of_the_first_total_pictures():
    images = pictures(10).images
    for batch_size in (1, 4, 10):
        features = compute_features(Pixels(), images.split(batch_size), 7, "test")
        assert torch.equal(features, images[:7].flatten(1).float() / 255)


def test_features_where_pictures_run_out():
    assert compute_features(Pixels(), pictures(5).images.split(2), 7, "test").shape == (5, 12)


def test_no_more_batches_are_made_than_needed():
    def batches():
        yield pictures(4).images
        pytest.fail("a batch too many")

    compute_features(Pixels(), batches(), 4, "test")


def test_fair_sample_is_nested_and_mixes_a_sorted_set():
    assert sorted(fair_sample(1000, 1000)) == list(range(1000))
    assert fair_sample(1000, 100) == fair_sample(1000, 1000)[:100]
    assert 300 < sum(fair_sample(1000, 100)) / 100 < 700


def test_cached_features_need_no_detector(warnings):
    reals = pictures(20)
    first, second = Pixels(), Pixels()
    features = real_features(first, reals, 20, 8)
    assert torch.equal(real_features(second, reals, 20, 3), features)
    assert (first.seen, second.seen, warnings) == (20, 0, [])
    assert torch.equal(features, first(reals.images[fair_sample(20, 20)]))


def test_other_features_are_not_mistaken_for_cached_ones():
    real_features(Pixels(), pictures(20), 20, 8)
    for detector, reals, count in [
        (Pixels(digest="def"), pictures(20), 20),
        (Pixels(name="others"), pictures(20), 20),
        (Pixels(resize="bilinear"), pictures(20), 20),
        (Pixels(), pictures(20, digest="other"), 20),
        (Pixels(), pictures(20, mirror=True), 20),
        (Pixels(), pictures(20), 19),
        (Pixels(), pictures(21), 20),
    ]:
        real_features(detector, reals, count, 8)
        assert detector.seen == count


DAMAGES = {
    "empty": lambda data: b"",
    "cut in the header": lambda data: data[:100],
    "cut at the end": lambda data: data[:-1],
    "too long": lambda data: data + b"x",
    "one bit": lambda data: data[:-5] + bytes([data[-5] ^ 1]) + data[-4:],
    "garbage": lambda data: b"\xff" * 300,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_cache_is_computed_anew(damage, warnings):
    reals = pictures(20)
    features = real_features(Pixels(), reals, 20, 8)
    (path,) = (cache_dir() / "features").iterdir()
    path.write_bytes(damage(path.read_bytes()))
    detector = Pixels()
    assert torch.equal(real_features(detector, reals, 20, 8), features)
    assert (detector.seen, len(warnings)) == (20, 1)
    assert str(path) in warnings[0]
    real_features(detector, reals, 20, 8)
    assert detector.seen == 20


def test_unwritable_cache_is_a_warning(warnings):
    real_features(Pixels(), pictures(20), 20, 8)
    (path,) = (cache_dir() / "features").iterdir()
    path.unlink()
    path.mkdir()
    assert real_features(Pixels(), pictures(20), 20, 8).shape == (20, 12)
    unreadable, unwritten = warnings
    assert "cannot be read" in unreadable
    assert "not kept" in unwritten
    assert list(path.parent.iterdir()) == [path]


# Evaluation


def test_several_metrics_share_one_pass():
    reals, fakes, detector = pictures(300), pictures(500, seed=1, low=50), Pixels()
    names = ["fid200_full", "kid150", "pr1003_full"]
    records = evaluate(names, reals, fakes, detector, batch_size=64)
    assert detector.seen == 300 + 200
    real = detector(reals.images[fair_sample(300, 300)])
    fake = detector(fakes.images)
    precision, recall = precision_recall(real, fake[:100])
    assert [record.metric for record in records] == names
    assert records[0].results == {"fid200_full": fid(real, fake[:200])}
    assert records[1].results == {"kid150": kid(real[:150], fake[:150])}
    assert records[2].results == {
        "pr1003_full_precision": precision,
        "pr1003_full_recall": recall,
    }
    assert [(r.num_real, r.num_fake) for r in records] == [(300, 200), (150, 150), (300, 100)]


def test_without_full_only_as_many_real_images_are_seen():
    detector = Pixels()
    evaluate(["fid100", "kid120"], pictures(300), pictures(120), detector)
    assert detector.seen == 120 + 120


def test_batch_size_changes_nothing():
    sides = pictures(100), pictures(100, seed=1)
    first = evaluate(["fid100_full", "kid50"], *sides, Pixels(), batch_size=7)
    second = evaluate(["fid100_full", "kid50"], *sides, Pixels(digest="x"), batch_size=100)
    assert [record.results for record in first] == [record.results for record in second]


def test_records_say_where_they_come_from():
    reals = pictures(120, mirror=True, digest="d" * 64)
    (record,) = evaluate(["fid100_full"], reals, pictures(100), Pixels())
    assert (record.detector, record.detector_digest, record.resize) == ("pixels", "abc", "none")
    assert (record.mirror, record.dataset_digest) == (True, "d" * 64)
    assert record.fakes == {"network": "a.safetensors", "trunc": 1.0}
    assert record.versions["torch"] == torch.__version__
    assert record.versions.keys() == {"dudgan", "torch", "numpy"}
    assert record.seconds > 0


@pytest.mark.parametrize(
    ("metric", "count", "part"),
    [("fid11_full", 11, "11 images are fewer than the 12 features"), ("kid99", 99, "99 images")],
)
def test_scores_not_to_be_trusted_come_with_one_warning(metric, count, part, warnings):
    (record,) = evaluate([metric], pictures(200), pictures(count), Pixels())
    assert record.results[metric] == pytest.approx(0, abs=1)
    assert len(warnings) == 1
    assert warnings[0].startswith(f"{metric}: {part}")


def test_enough_images_give_no_warning(warnings):
    evaluate(["fid100", "kid100", "pr1003"], pictures(200), pictures(100), Pixels())
    assert warnings == []


def test_fewer_generated_images_than_asked_for(warnings):
    (record,) = evaluate(["fid50k_full"], pictures(200), pictures(150), Pixels())
    assert record.num_fake == 150
    assert warnings == ["fid50k_full: there are only 150 generated images"]


@pytest.mark.parametrize(
    ("num_real", "num_fake", "kind"), [(3, 10, "real"), (10, 3, "generated"), (10, 0, "generated")]
)
def test_too_few_images(num_real, num_fake, kind):
    with pytest.raises(UserError, match=rf"pr1003_full takes at least 4 {kind} images, found \d"):
        evaluate(["pr1003_full"], pictures(num_real), pictures(num_fake), Pixels())


def test_names_are_checked_before_any_work():
    detector = Pixels()
    with pytest.raises(UserError, match="is5x"):
        evaluate(["fid10", "is5x"], pictures(20), pictures(20), detector)
    assert detector.seen == 0
    assert evaluate([], pictures(20), pictures(20), detector) == []


class PixelClasses(Pixels):
    """Takes bright pixels for classes."""

    def probabilities(self, features):
        return (4 * features).softmax(dim=1)


def test_inception_score_is_of_generated_images_alone(warnings):
    detector, fakes = PixelClasses(), pictures(60, seed=1)
    (record,) = evaluate(["is50"], pictures(0), fakes, detector)
    assert detector.seen == 50
    assert not (cache_dir() / "features").exists()
    mean, deviation = inception_score(detector.probabilities(detector(fakes.images[:50])), 10)
    assert 1 < mean < 12
    assert record.results == {"is50_mean": mean, "is50_std": deviation}
    assert (record.num_real, record.num_fake) == (0, 50)
    assert len(warnings) == 1 and "50 images in 10 parts" in warnings[0]
    both = evaluate(["fid50", "is50"], pictures(60), fakes, detector)
    assert both[1].results == record.results
    assert both[0].results == {"fid50": fid(*real_and_fake(detector, fakes))}


def real_and_fake(detector, fakes):
    real = detector(pictures(60).images[fair_sample(60, 50)])
    return real, detector(fakes.images[:50])


def test_inception_score_takes_a_detector_with_classes():
    detector = Pixels()
    with pytest.raises(UserError, match="is50 is about classes, which pixels does not tell"):
        evaluate(["fid50", "is50"], pictures(60), pictures(60), detector)
    assert detector.seen == 0
    with pytest.raises(UserError, match="is50 takes at least 10 generated images, found 9"):
        evaluate(["is50"], pictures(60), pictures(9), PixelClasses())
