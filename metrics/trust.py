"""When not to trust a score: one line for each reason."""

from __future__ import annotations

from metrics.class_accuracy import class_accuracy
from metrics.inception_score import NUM_SPLITS
from metrics.kid import MAX_SUBSET_SIZE
from metrics.sources import Sample

_FEW = 100
_MANY_FOR_CLASSES = 5000
_GOOD_JUDGE = 0.9


def fewer_than_features(real: Sample, fake: Sample) -> list[str]:
    """Of Gaussians: a covariance of fewer images than features is singular."""
    count, num_features = min(len(real), len(fake)), fake.features.shape[1]
    doubts = _alike(real, fake)
    if count < num_features:
        doubts.append(
            f"{count} images are fewer than the {num_features} features, so the score is far too "
            "high; compare it only with scores of as many images"
        )
    return doubts


def fewer_than_a_subset(real: Sample, fake: Sample) -> list[str]:
    """Of kernel distances, which are means over subsets."""
    count = min(len(real), len(fake))
    doubts = _alike(real, fake)
    if count < MAX_SUBSET_SIZE:
        doubts.append(
            f"{count} images do not fill a subset of {MAX_SUBSET_SIZE}, so the score is right on "
            "average but varies more than published ones"
        )
    return doubts


def few_images(real: Sample, fake: Sample) -> list[str]:
    """Of shares and of neighbours, which other images may change a lot."""
    sizes = [len(sample) for sample in (real, fake) if len(sample) > 0]
    doubts = _alike(real, fake)
    if min(sizes) < _FEW:
        doubts.append(f"{min(sizes)} images are too few for a steady score")
    return doubts


def few_classes_seen(real: Sample, fake: Sample) -> list[str]:
    """Of the Inception Score, which is a mean over parts."""
    doubts = _alike(real, fake)
    if len(fake) < _MANY_FOR_CLASSES:
        doubts.append(
            f"{len(fake)} images in {NUM_SPLITS} parts cannot show all classes, so the score is "
            "too low; compare it only with scores of as many images"
        )
    return doubts


def weak_judge(real: Sample, fake: Sample) -> list[str]:
    """Of class accuracy, where the classifier errs about real images."""
    doubts = few_images(real, fake)
    accuracy = class_accuracy(real.features, real.labels)
    if accuracy < _GOOD_JUDGE:
        doubts.append(
            f"the classifier recognises only {accuracy:.1%} of the real images; compare with that"
        )
    return doubts


def _alike(real: Sample, fake: Sample) -> list[str]:
    """Whether all images of a side look the same: a collapsed generator, or a broken data set."""
    sides = {"real": real, "generated": fake}
    return [
        f"all {len(sample)} {side} images have the same features"
        for side, sample in sides.items()
        if len(sample) > 1 and bool((sample.features == sample.features[0]).all())
    ]
