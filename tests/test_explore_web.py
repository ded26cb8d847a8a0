"""Whom the page's application answers, and when it stops working for them."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from explore_helpers import ORIGIN, client
from starlette.testclient import TestClient

from training.explore.explorer import Explorer, OutdatedError, Shown
from training.explore.web import make_app
from training.explore.wishes import Wish

pytest_plugins = ["network_fixtures"]
PATHS = ("/", "/style.css", "/script.js", "/network", "/pictures?seed=1", "/download?seed=1")


@pytest.fixture(scope="module")
def page(network: Path) -> TestClient:
    return client(network)


@pytest.mark.parametrize("path", PATHS)
def test_other_names_of_this_machine_are_refused(page: TestClient, path: str) -> None:
    for host in ("127.0.0.1:7860", "localhost", "LocalHost:1"):
        assert page.get(path, headers={"Host": host}).status_code == 200
    for host in (
        "evil.example:7860",
        "127.0.0.1.evil.example",
        "0.0.0.0",
        "127.0.0.1@evil",
        "[::1]",
        "",
    ):
        assert page.get(path, headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("path", ["/pictures", "/download"])
def test_other_websites_cannot_make_it_work(page: TestClient, path: str) -> None:
    for site in ("cross-site", "same-site"):
        response = page.get(path, headers={"Sec-Fetch-Site": site})
        assert response.status_code == 403 and "another website" in response.json()["error"]
    for site in ("same-origin", "none"):
        assert page.get(path, headers={"Sec-Fetch-Site": site}).status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_answers_are_for_the_page_alone(page: TestClient, path: str) -> None:
    headers = page.get(path, headers={"Origin": "https://evil.example"}).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers


def test_there_is_nothing_else(page: TestClient, network: Path) -> None:
    for path in ("/index.html", "/%2e%2e/web.py", "/..%2fweb.py", f"/{network}", "//etc/passwd"):
        assert page.get(path).status_code == 404
    for path in PATHS:
        assert page.post(path).status_code == 405


def test_page_needs_nothing_from_elsewhere(page: TestClient) -> None:
    for path in PATHS[:3]:
        assert not re.findall(r"(?:https?:)?//[\w-]+\.", page.get(path).text)


class Slow:
    """Stands for an `Explorer` whose pictures take until nobody wants them or `release` is set."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.given_up: list[int] = []
        self.release = threading.Event()

    def command(self, wish: Wish) -> str:
        return "command"

    def pictures(self, wish: Wish, is_outdated: Callable[[], bool]) -> list[Shown]:
        self.begun.append(wish.seed)
        for _ in range(1000):  # at most ten seconds
            if self.release.wait(0.01):
                break
            if is_outdated():
                self.given_up.append(wish.seed)
                raise OutdatedError
        return []


class Asked:
    """A request to the application without a server between, which can be hung up."""

    def __init__(self, app: Any, seed: int) -> None:
        self._app, self._seed = app, seed
        self.hang_up = anyio.Event()
        self.status = 0

    async def run(self) -> None:
        messages = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            await self.hang_up.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            self.status = message.get("status", self.status)

        headers = [(b"host", ORIGIN.removeprefix("http://").encode())]
        scope = {"type": "http", "method": "GET", "path": "/pictures", "headers": headers}
        await self._app(scope | {"query_string": f"seed={self._seed}".encode()}, receive, send)


def test_one_at_a_time_and_nothing_for_those_who_hung_up() -> None:
    slow = Slow()
    app = make_app(cast(Explorer, slow))
    first, second, third = (Asked(app, seed) for seed in (1, 2, 3))

    async def until(seed: int) -> None:
        with anyio.fail_after(20):
            while seed not in slow.begun:
                await anyio.sleep(0.01)

    async def story() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(first.run)
            await until(1)
            group.start_soon(second.run)
            await anyio.sleep(0.05)
            group.start_soon(third.run)
            await anyio.sleep(0.05)
            assert slow.begun == [1]
            second.hang_up.set()  # while it waits for its turn
            await anyio.sleep(0.05)
            first.hang_up.set()  # while it is served
            await until(3)
            slow.release.set()

    anyio.run(story)
    assert slow.begun == [1, 3]
    assert slow.given_up == [1]
    assert (first.status, second.status, third.status) == (499, 499, 200)
