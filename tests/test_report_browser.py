"""The page in headless Chromium, on a phone and on a desk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from network_helpers import tiny_config
from report_helpers import make_run, score, tick, write_scores

from training.report.run_report import write_report

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
NAMES = ("cat", "</script><img src=x onerror=alert(1)>", "an otherwise " + 20 * "long" + " name")
SHOWN = "[...document.querySelectorAll('#samples img')].filter((image) => image.offsetParent)"

# Red, green, blue, alpha of a column of pixels.
COLUMN = """() => { const canvas = document.querySelector("canvas");
    return [...canvas.getContext("2d").getImageData(9, 0, 1, canvas.height).data]; }"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the page of a run of thirty snapshots lies."""
    ticks = [tick(kimg, Loss__G__adversarial=2.5 * kimg, T_D=10.0) for kimg in range(1, 31)]
    config = tiny_config(NAMES, num_channels=3)
    run_dir = make_run(tmp_path_factory.mktemp("runs") / ("run-" + 30 * "x"), config, (), ticks)
    for number in range(10, 31, 10):
        make_run(run_dir, config, (number,))
    write_scores(run_dir, score(10, 3.0), score(20, 2.0))
    return write_report(run_dir).as_uri()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs pip install playwright")
    if CHROMIUM is None:
        pytest.skip("needs chromium on the PATH")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=[390, 1280])
def tab(request: pytest.FixtureRequest, chromium: Any, address: str) -> Iterator[Any]:
    """The page at a width; what it complains of or asks for is an error."""
    page = chromium.new_page(viewport={"width": request.param, "height": 844})
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asking: asked.append(asking.url))
    page.goto(address)
    yield page
    page.close()
    assert not complaints
    assert [url for url in asked if not url.startswith("data:")] == [address]


def only_picture(tab: Any) -> str:
    """The caption of the picture that shows, of the samples."""
    captions: list[str] = tab.evaluate(f"{SHOWN}.map((image) => image.dataset.caption)")
    (caption,) = captions
    assert tab.text_content("#samples output") == caption
    return caption


def test_nothing_is_wider_than_the_window(tab: Any) -> None:
    width = tab.viewport_size["width"]
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    tab.click("summary >> nth=-1")
    assert tab.evaluate("document.documentElement.scrollWidth") == width


def test_the_slider_moves_through_the_run(tab: Any) -> None:
    slider = "#samples input[type=range]"
    assert only_picture(tab) == "kimg 30"
    source = tab.evaluate(f"{SHOWN}[0].src")
    tab.press(slider, "ArrowLeft")
    assert only_picture(tab) == "kimg 20" == tab.get_attribute(slider, "aria-valuetext")
    assert tab.evaluate(f"{SHOWN}[0].src") != source
    tab.press(slider, "Home")
    assert only_picture(tab) == "start"
    tab.check("#samples input[type=checkbox]")
    assert only_picture(tab) == "real images"
    tab.press(slider, "End")
    assert only_picture(tab) == "kimg 30" and not tab.is_checked("#samples input[type=checkbox]")
    assert tab.evaluate(f"{SHOWN}[0].naturalWidth") > 0


def test_a_class_through_time(tab: Any) -> None:
    tab.wait_for_selector("canvas[aria-label='cat at 5 moments']")
    labels = tab.eval_on_selector_all(
        "#rows .labels span", "(all) => all.map((e) => e.textContent)"
    )
    assert labels == ["real images", "start", "kimg 10", "kimg 20", "kimg 30"]
    reds = tab.evaluate(COLUMN)[::4]
    middles = reds[len(reds) // 10 :: len(reds) // 5]
    assert middles == pytest.approx([240, 100, 100, 0, 100], abs=6)  # as `add_pictures` paints
    tab.select_option("select", index=1)
    tab.wait_for_selector("canvas[aria-label^='</script>']")


def test_values_under_the_pointer(tab: Any) -> None:
    chart = tab.locator(".chart", has_text="Adversarial loss")
    assert chart.locator("b").text_content() == "75"
    drawing = chart.locator("> svg")
    drawing.scroll_into_view_if_needed()
    box = drawing.bounding_box()
    middle = box["x"] + box["width"] * (46 + 0.5 * (328 - 46)) / 340  # kimg 15 of 0 to 30
    tab.mouse.move(middle, box["y"] + box["height"] / 2)
    assert chart.locator("b").text_content() == "37.5"
    assert chart.locator(".when").text_content() == "kimg 15"
    tab.mouse.move(0, 0)
    assert chart.locator("b").text_content() == "75"


def test_without_scripts_curves_and_the_newest_pictures_show(chromium: Any, address: str) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator(".chart svg polyline").first.is_visible()
    shown = [image for image in page.locator("#samples img").all() if image.is_visible()]
    assert [image.get_attribute("data-caption") for image in shown] == ["kimg 30"]
    assert page.locator("#samples output").text_content() == "kimg 30"
    assert not page.locator("#rows").is_visible()
    assert not page.locator("input").first.is_visible()
    context.close()
