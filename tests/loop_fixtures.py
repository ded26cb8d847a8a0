"""Data for tests of training runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_helpers import write_two_classes


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve grey 8x8 images of two classes."""
    return write_two_classes(tmp_path_factory.mktemp("data"))
