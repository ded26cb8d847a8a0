"""What users may say about a source beyond its name."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from dnnlib import Config


def _checked_depth(text: str) -> str:
    match = re.fullmatch(r"(\d)(?:-(\d))?", text)
    if text and (match is None or (match[2] and not 0 < int(match[1]) <= int(match[2]))):
        raise ValueError("must be a level like 1, levels like 1-2, or 0 for none")
    return text


class SourceOptions(Config):
    """How images and labels are found in a source; an option it has no use for is refused.

    Every field is a command-line option whose help is the description. A field that is not set is
    up to the source.
    """

    labels: str = Field(
        "", description="A CSV, JSONL or JSON file of file names and labels. [the source's own]"
    )
    class_depth: Annotated[str, AfterValidator(_checked_depth)] = Field(
        "",
        description="The folder level that names the class, below the one common to all; 1-2: the "
        "first two joined, 0: no classes. [1]",
    )
    split: str = Field(
        "", description="Which split of several: train, test, ..., all. [CIFAR: train]"
    )
    image_column: str = Field("", description="Of parquet files: where the images are. [the only]")
    label_column: str = Field(
        "",
        description="Where labels are, of parquet files, of JSON in webdatasets and of --labels "
        "FILE. [called label, class, ...]",
    )
    cifar100_labels: Literal["fine", "coarse"] = Field(
        "fine", description="CIFAR-100's classes: 100 fine ones or 20 coarse ones. [fine]"
    )
