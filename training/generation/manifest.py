"""How pictures were made: in their own files, and in a list beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dnnlib import UserError
from dnnlib.json_lines import mend_json_lines
from dnnlib.version import project_version
from training.generation.synthesis import StyleConfig
from training.networks.precision import Precision
from training.snapshots import NetworkFile

MANIFEST = "manifest.jsonl"

Facts = Mapping[str, object]  # by name, as JSON can hold them


def common_facts(network: NetworkFile, style: StyleConfig, precision: Precision) -> Facts:
    """What all pictures of a call have in common."""
    return {
        "network": network.digest,
        **style.model_dump(),
        "precision": precision,
        "version": f"dudgan {project_version()}",
    }


class Manifest:
    """`manifest.jsonl` of a folder: a line for each picture, the last one of a file name counts.

    Lines are appended as pictures come: an interrupted call has noted all but its last few.
    """

    def __init__(self, folder: Path) -> None:
        """Raises `UserError` where the list of an earlier call cannot be added to."""
        self.path = folder / MANIFEST
        with self._writing():
            mend_json_lines(self.path)

    def add(self, file: str, facts: Facts) -> None:
        """Note how `file` was made. Raises `UserError` where that cannot be written."""
        with self._writing(), self.path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"file": file, **facts}, ensure_ascii=False) + "\n")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot be written ({error.strerror}); free the disk or choose "
                "another place"
            ) from error
