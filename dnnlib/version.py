"""Which version of this project runs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def project_version() -> str:
    """That of the installed package; 'source checkout' where none is installed."""
    try:
        return version("dudgan")
    except PackageNotFoundError:
        return "source checkout"
