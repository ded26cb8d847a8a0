"""Support code: configs, files that are whole or absent, run folders, scripts, downloads."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import click
import pytest
from data_helpers import UNHURRIED, error_line
from hypothesis import given
from hypothesis import strategies as st
from network_helpers import exit_status
from pydantic import Field, ValidationError

from dnnlib import Config, RunError, UserError, logs
from dnnlib.cli import CONTEXT, NameList, SeedList, Size, config_options
from dnnlib.download import fetch
from dnnlib.files import atomic_path, create_run_dir, find_run_dirs, write_text
from dnnlib.logs import Progress, logged_to_file, logger, setup_logging


class Inner(Config):
    rate: float = Field(0.5, gt=0)
    names: tuple[str, ...] = ()


class Outer(Config):
    count: int = 1
    word: str | None = None
    pair: tuple[int, int] = (1, 2)
    inner: Inner = Inner()


inners = st.builds(
    Inner,
    rate=st.floats(0, exclude_min=True, allow_infinity=False),
    names=st.lists(st.text()).map(tuple),
)
outers = st.builds(
    Outer,
    count=st.integers(),
    word=st.none() | st.text(),
    pair=st.tuples(st.integers(), st.integers()),
    inner=inners,
)


@UNHURRIED
@given(outers)
def test_config_survives_json(config: Outer) -> None:
    again = Outer.from_json(config.to_json(), "here")
    assert again == config
    assert config.differences(again) == []


def test_config_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Outer().count = 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"cuont": 3}', "here.json: cuont: Extra inputs are not permitted, found 3"),
        ('{"inner": {"rate": 0}}', "here.json: inner.rate: .* greater than 0, found 0"),
        ('{"count": "many"}', "here.json: count: .*, found 'many'"),
        ('{"count": 1', "here.json: config: Invalid JSON"),
        ("", "here.json: config: Invalid JSON"),
        ("[]", "here.json: config: "),
    ],
)
def test_broken_config_names_file_field_and_rule(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        Outer.from_json(text, Path("here.json"))
    assert len(str(caught.value)) < 300


def test_differences_name_nested_fields() -> None:
    ours = Outer(word="a", pair=(1, 2))
    theirs = Outer(word="a", pair=(1, 3), inner=Inner(rate=2))
    assert ours.differences(theirs) == ["pair: [1, 2] -> [1, 3]", "inner.rate: 0.5 -> 2.0"]


def test_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]
    write_text(path, "new")
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_unwritable_place_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/x: cannot be written \(.+\); free the disk"):
        write_text(tmp_path / "file" / "x", "text")


def test_run_folders_are_numbered_past_the_highest(tmp_path: Path) -> None:
    outdir = tmp_path / "runs"
    assert create_run_dir(outdir, "a").name == "00000-a"
    (outdir / "00041-other").mkdir()
    (outdir / "99-no-run").mkdir()
    assert create_run_dir(outdir, "a-b").name == "00042-a-b"
    assert create_run_dir(outdir, "a").name == "00043-a"


def test_runs_that_start_at_once_get_folders_of_their_own(tmp_path: Path) -> None:
    together, made = threading.Barrier(8), []

    def start() -> None:
        together.wait()
        made.append(create_run_dir(tmp_path, "same"))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8


def test_run_folders_are_found_by_their_whole_description(tmp_path: Path) -> None:
    names = ("00010-a", "00002-a", "00001-a-b", "00003-b", "1-a", "notes")
    for name in names:
        (tmp_path / name).mkdir()
    assert [path.name for path in find_run_dirs(tmp_path, "a")] == ["00002-a", "00010-a"]
    assert find_run_dirs(tmp_path / "none", "a") == []


def script(outcome: BaseException | int | None) -> click.Command:
    @click.command()
    def command() -> int | None:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return command


@pytest.mark.parametrize(("outcome", "status"), [(None, 0), (0, 0), (143, 143)])
def test_scripts_that_end_well_say_nothing(
    outcome: int | None, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(script(outcome)) == status
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("outcome", "status", "said"),
    [
        (UserError("--x: wrong,\n  found 3"), 2, "Error: --x: wrong, found 3"),
        (RunError("the losses"), 1, "Error: the losses"),
        (KeyboardInterrupt(), 130, "Error: interrupted"),
        (click.Abort(), 130, "Error: interrupted"),
        (click.BadParameter("bad\nvalue"), 2, "Error: Invalid value: bad value"),
    ],
)
def test_scripts_that_fail_say_one_line(
    outcome: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status(script(outcome)) == status
    assert error_line(capsys) == said


def test_unknown_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status(script(None), "--colour") == 2
    assert "--colour" in error_line(capsys)


@UNHURRIED
@given(st.lists(st.tuples(st.integers(0, 2**32 - 100), st.integers(0, 99)), min_size=1))
def test_seed_lists_round_trip(ranges: list[tuple[int, int]]) -> None:
    text = ", ".join(f"{first}-{first + more}" if more else f"{first}" for first, more in ranges)
    expected = [seed for first, more in ranges for seed in range(first, first + more + 1)]
    assert SeedList().convert(text, None, None) == expected


@UNHURRIED
@given(st.lists(st.from_regex(r"[a-z][a-z ]*[a-z]", fullmatch=True), min_size=1))
def test_name_lists_round_trip(names: list[str]) -> None:
    assert NameList().convert(" , ".join(names), None, None) == names


@UNHURRIED
@given(st.integers(1, 99999), st.integers(1, 99999))
def test_sizes_round_trip(width: int, height: int) -> None:
    assert Size().convert(f"{width}x{height}", None, None) == (width, height)
    assert Size().convert(f"{width}", None, None) == (width, width)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((SeedList(), text) for text in ("", "a", "1,", "-1", "1.5", "3-1", "4294967296")),
        (SeedList(), "0-99999999"),
        *((NameList(), text) for text in ("", "a,,b", "a,", " ")),
        *((Size(), text) for text in ("", "0", "00", "8x00", "x8", "8x8x8", "-8", "8.0", "100000")),
    ],
)
def test_malformed_values_are_refused(kind: click.ParamType[Any], text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"takes|backwards"):
        kind.convert(text, None, None)


class Knobs(Config):
    learn_rate: float | None = Field(None, description="Rate.")
    steps: int = Field(1, description="Steps.")
    use_it: bool = Field(False, description="Use.")
    kind: Literal["a_b", "c"] = Field("c", description="Kind.")
    names: tuple[str, ...] = Field((), description="Names.")
    hidden: int = 0


def typed(*args: str) -> dict[str, object]:
    """What a command with the options of `Knobs` gets."""
    got: dict[str, object] = {}

    @click.command(context_settings=CONTEXT)
    @config_options(Knobs)
    def command(**options: object) -> None:
        got.update(options)

    assert exit_status(command, *args) == 0
    return got


def test_each_described_field_gets_an_option_and_nothing_else_does() -> None:
    assert typed() == dict.fromkeys(("learn_rate", "steps", "use_it", "kind", "names"))


def test_options_take_underscores_and_hyphens() -> None:
    assert typed("--learn-rate=3", "--use_it", "yes")["learn_rate"] == 3.0
    options = typed("--learn_rate=3", "--use-it=1", "--kind=a_b", "--names=x, y", "--steps=7")
    assert options == {
        "learn_rate": 3.0,
        "steps": 7,
        "use_it": True,
        "kind": "a_b",
        "names": ["x", "y"],
    }


CONTENT = b"weights" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(404 if self.path == "/none" else 200)
        self.send_header("Content-Length", str(len(CONTENT) + (self.path == "/cut")))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """Address of a web server, and the paths it was asked for."""
    monkeypatch.setenv("DUDGAN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(Handler, "asked", [], raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield f"http://127.0.0.1:{server.server_port}", Handler.asked
        server.shutdown()


def test_downloads_are_fetched_once(
    site: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, asked = site
    path = fetch(f"{address}/net.pkl", DIGEST)
    assert path.read_bytes() == CONTENT
    assert path.name.endswith("-net.pkl")
    assert fetch(f"{address}/net.pkl", DIGEST) == path
    monkeypatch.setattr("dnnlib.download.sha256_file", None)
    assert fetch(f"{address}/net.pkl") == path  # and not read for nothing
    assert asked == ["/net.pkl"]


def test_the_cache_is_trusted_no_more_than_the_network(site: tuple[str, list[str]]) -> None:
    address, asked = site
    path = fetch(f"{address}/net.pkl")
    path.write_bytes(b"something else")
    assert fetch(f"{address}/net.pkl", DIGEST).read_bytes() == CONTENT
    with pytest.raises(UserError, match=f"expected SHA-256 0+, got {DIGEST}"):
        fetch(f"{address}/net.pkl", "0" * 64)
    assert path.read_bytes() == CONTENT
    assert asked == ["/net.pkl"] * 3


@pytest.mark.parametrize(
    ("page", "sha256", "said"),
    [
        ("wrong", "0" * 64, f"expected SHA-256 0+, got {DIGEST}"),
        ("none", None, r"download failed \(HTTPError\)"),
        ("cut", None, "download failed"),
    ],
)
def test_failed_downloads_leave_nothing(
    site: tuple[str, list[str]], tmp_path: Path, page: str, sha256: str | None, said: str
) -> None:
    with pytest.raises(UserError, match=f"^{site[0]}/{page}: {said}"):
        fetch(f"{site[0]}/{page}", sha256)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_progress_is_plain_lines_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    setup_logging()
    with Progress("Reading", 4, "images") as bar:
        bar.update(1)  # too soon for a line
        monkeypatch.setattr(logs, "_SECONDS_BETWEEN_LINES", 0.0)
        bar.update(2, note="ok")
    assert capsys.readouterr() == ("Reading: 3 of 4 images  ok\n", "")


def test_log_file_has_what_the_terminal_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup_logging()
    setup_logging()
    with logged_to_file(tmp_path / "log.txt"):
        logger.info("calm")
        logger.warning("careful")
    logger.info("after")
    assert capsys.readouterr() == ("calm\nafter\n", "Warning: careful\n")
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line.split(maxsplit=2)[2] for line in lines] == ["calm", "careful"]
