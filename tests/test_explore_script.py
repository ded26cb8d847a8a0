"""explore.py on the command line, and its page in a browser."""

from __future__ import annotations

import base64
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from explore_helpers import made_by
from network_helpers import complaint, tiny_config, write_network

import explore

pytest_plugins = ["network_fixtures"]
ROOT = Path(__file__).parent.parent
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
ANIMALS = ("fox", "wolf", "hare", "lynx", "owl")
NAMES = [f"{color} {animal}" for color in ("red", "grey", "blue") for animal in ANIMALS]


def test_what_is_refused_at_once(
    tmp_path: Path,
    network: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def said(*options: object) -> str:
        return complaint(capsys, explore.main, *options)

    for host in ("0.0.0.0", "192.168.0.2", "example.org", "::"):
        line = said(network, "--host", host)
        assert f"--host {host}: the page is for this machine alone" in line
        assert "ssh -L 7860:127.0.0.1:7860" in line
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"--port {port}: cannot be listened on" in said(network, "--port", port)
    assert "no such file" in said(tmp_path / "none.safetensors", "--port", 0)
    assert "--port" in said(network, "--port", 65536)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    line = said(network)
    assert "the package uvicorn, which is not there; install it: pip install starlette" in line


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of fifteen classes."""
    config = tiny_config(NAMES, num_channels=3)
    return write_network(tmp_path_factory.mktemp("many") / "many.safetensors", config)


@pytest.fixture(scope="module")
def address(many: Path) -> Iterator[str]:
    """Where explore.py serves that network; at the end Ctrl-C must end it well."""
    command = [sys.executable, "explore.py", str(many), "--port", "0", "--no-browser"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().split()[0]
            server.send_signal(signal.SIGINT)
            assert server.wait(30) == 0
        finally:
            server.kill()


@pytest.fixture
def tab(address: str) -> Iterator[Any]:
    """The page in headless Chromium, driven by playwright; anything it complains of is an error."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs pip install playwright")
    if CHROMIUM is None:
        pytest.skip("needs chromium on the PATH")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        elsewhere: list[str] = []
        page.on("request", lambda request: elsewhere.append(request.url))
        page.goto(address)
        page.wait_for_selector("#pictures img")
        yield page
        browser.close()
    assert not complaints
    assert all(url.startswith((address, "data:")) for url in elsewhere)


def after(tab: Any, action: Any) -> list[str]:
    """Sources of the pictures that the page shows once `action` has changed them."""
    sources = "Array.from(document.querySelectorAll('#pictures img'), (image) => image.src)"
    before = tab.evaluate(sources)
    action()
    tab.wait_for_function(f"(before) => String({sources}) !== String(before)", arg=before)
    tab.wait_for_selector("#pictures:not(.busy)")
    found: list[str] = tab.evaluate(sources)
    return found


def command_makes(tab: Any, outdir: Path) -> list[str]:
    """What generate.py makes of the command line that the page shows, as sources of pictures."""
    files = made_by(tab.text_content("#command"), outdir)
    return [f"data:image/png;base64,{base64.b64encode(png).decode()}" for png in files.values()]


def test_class_and_seed_in_a_browser(tab: Any, tmp_path: Path) -> None:
    (source,) = after(tab, lambda: tab.select_option("#first_class", "grey owl"))
    assert [source] == command_makes(tab, tmp_path / "class")
    (source,) = after(tab, lambda: tab.fill("#seed", "77"))
    assert "--seeds 77 --class 'grey owl'" in tab.text_content("#command")
    assert [source] == command_makes(tab, tmp_path / "seed")
    (other,) = after(tab, lambda: tab.click("#next"))
    assert other != source and tab.input_value("#seed") == "78"
    assert [source] == after(tab, lambda: tab.press("#previous", "Enter"))
    with tab.expect_download() as download:
        tab.click("#download")
    assert download.value.suggested_filename == "seed0077-grey_owl.png"


def test_grid_and_mixture_in_a_browser(tab: Any) -> None:
    after(tab, lambda: tab.fill("#columns", "3"))
    tab.select_option("#first_class", "red fox")
    mixed = after(tab, lambda: tab.select_option("#second_class", "blue owl"))
    assert len(mixed) == 3 and tab.is_visible("#mix")
    moved = after(tab, lambda: tab.press("#mix", "ArrowRight"))
    assert not set(mixed) & set(moved)
    assert "'red fox:0.45+blue owl:0.55'" in tab.text_content("#command")
    assert [moved[1]] == after(tab, lambda: tab.click("#pictures button >> nth=1"))
    assert tab.input_value("#seed") == "1"
    tab.reload()
    tab.wait_for_selector("#pictures img")
    assert tab.get_attribute("#pictures img", "src") == moved[1]
    width = tab.evaluate("document.documentElement.scrollWidth")
    assert width == 390  # nothing to scroll sideways


def test_finding_classes_in_a_browser(tab: Any) -> None:
    after(tab, lambda: tab.fill("#find-first", "LYNX"))
    assert tab.input_value("#first_class") == "red lynx"
    assert tab.eval_on_selector_all("#first_class option", "(all) => all.length") == 3
    tab.fill("#find-first", "cow")
    assert tab.text_content("#error") == "No class is called like “cow”"
    assert tab.input_value("#first_class") == "red lynx"
    tab.fill("#find-first", "")
    assert tab.text_content("#error") == ""
    assert tab.eval_on_selector_all("#first_class option", "(all) => all.length") == 16
    tab.evaluate("location.hash = '#first_class=cow'")
    tab.wait_for_selector("#error:has-text('class cow: no such class; there are 15')")
    tab.fill("#seed", "4294967296")
    tab.wait_for_selector("#error:has-text('seed: ')")
    after(tab, lambda: (tab.select_option("#first_class", "grey hare"), tab.fill("#seed", "5")))
    assert tab.text_content("#error") == ""
