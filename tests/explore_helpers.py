"""Short ways to ask the page's application, and to make what its command lines say."""

from __future__ import annotations

import base64
import shlex
from pathlib import Path
from typing import Any

from network_helpers import exit_status
from starlette.testclient import TestClient

import generate
from training.explore.explorer import Explorer, ExplorerConfig
from training.explore.web import make_app

ORIGIN = "http://127.0.0.1:7860"


def client(network: Path) -> TestClient:
    """A browser, as it were, that has the page of `network` open."""
    return TestClient(make_app(Explorer(ExplorerConfig(network=str(network)))), base_url=ORIGIN)


def shown(page: TestClient, **wish: object) -> dict[str, bytes]:
    """Files by name that the page shows."""
    return files_of(answer(page, **wish))


def answer(page: TestClient, **wish: object) -> dict[str, Any]:
    """What `/pictures` says."""
    response = page.get("/pictures", params={name: str(value) for name, value in wish.items()})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def files_of(found: dict[str, Any]) -> dict[str, bytes]:
    """Files by name of an answer of `/pictures`."""
    return {picture["file"]: base64.b64decode(picture["png"]) for picture in found["pictures"]}


def refusal(page: TestClient, path: str = "/pictures", **wish: object) -> str:
    """The one line that is said about a wrong wish, status 400."""
    response = page.get(path, params={name: str(value) for name, value in wish.items()})
    assert response.status_code == 400
    found = response.json()
    line: str = found.pop("error")
    assert not found and "\n" not in line
    return line


def made_by(command: str, outdir: Path) -> dict[str, bytes]:
    """Pictures by file name that the command line which the page shows writes, into `outdir`."""
    python, script, *words = shlex.split(command)
    assert (python, script) == ("python", "generate.py")
    words[words.index("--outdir") + 1] = str(outdir)
    assert exit_status(generate.main, *words) == 0
    return {path.name: path.read_bytes() for path in outdir.glob("*.png")}
