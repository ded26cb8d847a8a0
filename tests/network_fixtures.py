"""Network files for the tests of scripts, as a pytest plugin."""

from __future__ import annotations

from pathlib import Path

import pytest
from network_helpers import tiny_config, write_network


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network file with the classes `CLASSES`, 16x16 grey."""
    return write_network(tmp_path_factory.mktemp("network") / "tiny.safetensors", tiny_config())


@pytest.fixture(scope="session")
def unconditional(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network file without classes, 16x8 RGB."""
    config = tiny_config(class_names=(), num_channels=3, size=(16, 8))
    return write_network(tmp_path_factory.mktemp("network") / "plain.safetensors", config)
