"""The page as a whole: nothing from elsewhere, everything of the run, words that stay words."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from pathlib import Path

import pytest
from network_helpers import CLASSES, complaint, exit_status, tiny_config
from report_helpers import (
    PageParser,
    add_pictures,
    captions,
    charts,
    make_run,
    parse,
    reported,
    score,
    tick,
    write_scores,
)
from training_helpers import small_config

from training.report import pictures
from training.report.__main__ import main
from training.report.pictures import Film
from training.report.run_report import RunReport

EVIL = ("</script><img src=x onerror=alert(1)>", '"><b>&amp;', "' onload='x")
ADDRESSES = ("src", "href", "srcset", "action", "data", "poster", "formaction", "background")


def assert_alone(page: PageParser) -> None:
    """Nothing that a browser would fetch, nor run, but what the page brings along."""
    for element in page.elements:
        assert element.tag not in {"iframe", "object", "embed", "form", "base", "audio", "video"}
        for name, value in element.attributes.items():
            assert not name.startswith("on") and name != "style"
            if name in ADDRESSES:
                assert str(value).startswith("data:")
    (style,), scripts = page.all("style"), page.all("script")
    assert "url(" not in style.text and "@import" not in style.text
    (script,) = (s for s in scripts if s.attributes.get("type") != "application/json")
    policy = str(page.all("meta")[1].attributes["content"])
    directives = [directive.split()[0] for directive in policy.split("; ")]
    assert policy.startswith("default-src 'none'; img-src data:; ") and directives[2:] == [
        "style-src", "script-src", "base-uri", "form-action",
    ]  # fmt: skip
    for name, text in (("style", style.text), ("script", script.text)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}';" in policy
    assert not re.search(r"fetch|XMLHttp|import|https?:", script.text)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three snapshots."""
    ticks = [
        tick(kimg, Loss__G__adversarial=kimg / 10, T_D=kimg + 10.0, T_C=20.0)
        for kimg in (5, 10, 15)
    ]
    return make_run(tmp_path_factory.mktemp("runs") / "00000-digits", None, (5, 10, 15), ticks)


def test_a_page_of_a_run(run_dir: Path) -> None:
    write_scores(run_dir, score(5, 90.5), score(10, 80.25, warnings=["few images"]))
    page = reported(run_dir)
    assert_alone(page)
    assert captions(page, "Generated") == ["start", "kimg 5", "kimg 10", "kimg 15"]
    assert captions(page, "Real images with")[-1] == "kimg 15, T of D 25, T of C 20"
    assert captions(page, "Real images")[0] == "real images"
    drawn = charts(page)
    assert drawn["Adversarial loss"]["values"] == [[0.5, 1, 1.5]]
    assert drawn["Horizon T"]["kimg"] == [5, 10, 15]
    assert drawn["fid2k"]["values"] == [[90.5, 80.25]]
    assert [each.text for each in page.all("p", "notice")] == ["few images"]
    assert [option.text for option in page.all("option")] == list(CLASSES)
    assert page.all("title")[0].text == page.all("h1")[0].text == "00000-digits"
    assert '"preset": "tiny"' in page.all("pre")[0].text
    rows = [element.text for element in page.all("tr")]
    assert any(tiny_config().facts.digest in row for row in rows)


def test_without_scripts_the_newest_pictures_show(run_dir: Path) -> None:
    page = reported(run_dir)
    shown = [image for image in page.all("img") if "hidden" not in image.attributes]
    assert [image.attributes["data-caption"] for image in shown] == [
        "kimg 15", "kimg 15, T of D 25, T of C 20",
    ]  # fmt: skip
    for image in page.all("img"):
        assert image.attributes["alt"] and image.attributes["width"] and image.attributes["height"]
    for control in page.all("input"):
        label = "label" in control.inside
        assert label or control.attributes.get("aria-label")
    assert len(page.all("svg")) == 2 * len(charts(page)) + 1  # two curves share a chart


def test_names_and_settings_stay_words(tmp_path: Path) -> None:
    config = tiny_config(EVIL, data="<b>data.zip")
    ticks = [tick(1, **{"Loss/<img src=x>": 1.0})]
    run_dir = make_run(tmp_path / "<i>run", config, (1,), ticks)
    classes = [{"class_name": EVIL[0], "results": {EVIL[1]: 1.0}}]
    evil = score(1, 1, results={EVIL[1]: 1.0}, classes=classes, warnings=[EVIL[0]], detector="<b>")
    write_scores(run_dir, evil)
    page = reported(run_dir)
    assert_alone(page)
    assert not page.all("b") or all(each.inside[-1] == "li" for each in page.all("b"))
    assert all(
        str(image.attributes["src"]).startswith("data:image/webp") for image in page.all("img")
    )
    assert [option.text for option in page.all("option")] == list(EVIL)
    assert {"Loss/<img src=x>", EVIL[1]} <= set(charts(page))
    assert page.all("h1")[0].text == "<i>run"
    assert EVIL[0] in page.all("table")[0].text


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("names", [(), ("one",), tuple(f"class {n}" for n in range(40))])
def test_every_kind_of_data(tmp_path: Path, names: tuple[str, ...], channels: int) -> None:
    config = tiny_config(names, num_channels=channels, size=(8, 8))
    page = reported(make_run(tmp_path / "run", config, (1, 2)))
    assert_alone(page)
    assert captions(page, "Generated") == ["start", "kimg 1", "kimg 2"]
    rows = [option.text for option in page.all("option")]
    assert rows == (list(names[:32]) if names else [f"row {n}" for n in range(1, 9)])
    hints = [hint.text for hint in page.all("p", "hint")]
    assert any("first 32 of 40 classes" in hint for hint in hints) == (len(names) == 40)


def test_a_run_that_has_only_begun(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path / "run")
    page = reported(run_dir)
    assert_alone(page)
    assert not page.all("img") and charts(page) == {}
    assert "No tick is done yet." in [p.text for p in page.all("p")]
    (run_dir / "stats.jsonl").write_text("", encoding="utf-8")
    write_scores(run_dir)
    assert charts(reported(run_dir)) == {}


def test_parts_that_are_not_there(tmp_path: Path) -> None:
    def said(name: str, **given: object) -> list[str]:
        page = reported(make_run(tmp_path / name, small_config(**given), (1,)))
        assert_alone(page)
        labels = [span.text for span in page.all("span") if "title" in span.attributes]
        return [p.text for p in page.all("p")] + labels[3:]

    assert said("both")[-6:] == ["D"] * 3 + ["C"] * 3
    assert said("d", classifier=False)[-3:] == ["D"] * 3
    assert "Images without noise." in said("none", noise_model="none")
    assert any("features" in text for text in said("features", noise_at="features"))


def test_a_run_that_did_again_what_it_had_lost(tmp_path: Path) -> None:
    ticks = [tick(1, T_D=1.0), tick(2, T_D=2.0), tick(3, T_D=3.0), tick(2, T_D=20.0)]
    run_dir = make_run(tmp_path / "run", None, (1, 2), ticks)
    with (run_dir / "stats.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"kimg": 2.5, "T_{"kimg": 3}\n{"kimg"')
    page = reported(run_dir)
    assert charts(page)["Horizon T"] == charts(page)["Horizon T"] | {
        "kimg": [1, 2], "values": [[1, 20]],
    }  # fmt: skip
    (notice,) = page.all("p", "notice")
    assert notice.text == "stats.jsonl: 1 broken line left out."


def test_a_page_lends_its_pictures_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config()
    run_dir = make_run(tmp_path / "run", config, (1, 2, 3))
    sources = {str(i.attributes["alt"]): i.attributes["src"] for i in reported(run_dir).all("img")}
    monkeypatch.setattr("training.report.run_report.read_small_picture", None)
    add_pictures(run_dir, config, 2)
    os.utime(run_dir / "fakes000002.png", ns=(1, 1))  # drawn again by a run that went back
    RunReport(run_dir, config).refresh()
    page = parse(run_dir)
    assert captions(page, "Generated") == ["start", "kimg 1", "kimg 3"]
    assert all(i.attributes["src"] == sources[str(i.attributes["alt"])] for i in page.all("img"))
    assert "python -m training.report RUN_DIR" in page.all("p", "notice")[0].text
    monkeypatch.undo()
    assert captions(reported(run_dir), "Generated") == ["start", "kimg 1", "kimg 2", "kimg 3"]


def test_a_page_stays_small_however_long_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = Film("fakes[0-9]*.png", 12, most=4, most_bytes=80_000)
    monkeypatch.setattr(pictures, "FAKES", few)
    monkeypatch.setattr("training.report.document.FAKES", few)
    run_dir = make_run(tmp_path / "run", None, range(1, 20))
    assert captions(reported(run_dir), "Generated") == ["start", "kimg 8", "kimg 16", "kimg 19"]
    most = sum(film.most * film.most_bytes for film in (pictures.NOISE, Film("", 12, 49, 80_000)))
    assert most * 4 / 3 < 7e6  # as base64; a megabyte is left for all else


def test_a_picture_that_cannot_be_read_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dnnlib.logs.logger.propagate", True)
    run_dir = make_run(tmp_path / "run", None, (1, 2))
    (run_dir / "fakes000001.png").write_bytes(b"torn")
    page = reported(run_dir)
    assert captions(page, "Generated") == ["start", "kimg 2"]
    assert "the page goes without a picture" in caplog.text and "fakes000001.png" in caplog.text
    (notice,) = page.all("p", "notice")
    assert notice.text == "Left out, torn or too large: fakes000001.png."


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = make_run(tmp_path / "run", None, (1,))
    assert exit_status(main, run_dir) == 0
    assert f"Report: {run_dir / 'report.html'}" in capsys.readouterr().out
    assert "has no training_options.json" in complaint(capsys, main, tmp_path)
    assert "has no training_options.json" in complaint(capsys, main, tmp_path / "absent")
    (run_dir / "training_options.json").write_text("{}", encoding="utf-8")
    assert "training_options.json: preset" in complaint(capsys, main, run_dir)
