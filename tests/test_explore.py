"""The page's application: its pictures are generate.py's, and it says what it cannot do."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from explore_helpers import answer, client, files_of, made_by, refusal, shown
from network_helpers import CLASSES, tiny_config, write_network
from PIL import Image
from starlette.testclient import TestClient

from training.explore.explorer import Explorer, ExplorerConfig, OutdatedError
from training.explore.wishes import Wish

pytest_plugins = ["network_fixtures"]

NAMES = (*(f"class {number}" for number in range(997)), "a, b", "c+d", "0")


@pytest.fixture(scope="module")
def page(network: Path) -> TestClient:
    return client(network)


@pytest.fixture(scope="module")
def plain_page(unconditional: Path) -> TestClient:
    return client(unconditional)


@pytest.fixture(scope="module")
def many_page(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    """A network of a thousand classes, some with names that mean something to --class."""
    config = tiny_config(NAMES, num_channels=4, size=(8, 16))
    return client(write_network(tmp_path_factory.mktemp("many") / "many.safetensors", config))


@pytest.mark.parametrize(
    "wish",
    [
        {"seed": 3},
        {"seed": 2**32 - 4, "rows": 2, "columns": 2},
        {"seed": 3, "first_class": "dog", "noise_mode": "random", "columns": 2},
        {"seed": 5, "first_class": "2", "trunc": 0.45, "trunc_center": "class"},
        {"first_class": "dog", "second_class": "cat", "mix": 0.35, "rows": 3, "columns": 6},
        {"first_class": "dog", "second_class": "wild", "mix": 0.9, "trunc": 1.5},
        {"first_class": "dog", "second_class": "cat", "mix": 1, "noise_mode": "none"},
    ],
)
def test_pictures_are_the_files_that_the_command_makes(
    page: TestClient, tmp_path: Path, wish: dict[str, object]
) -> None:
    found = answer(page, **wish)
    assert files_of(found) == made_by(found["command"], tmp_path)
    assert len(found["pictures"]) == int(str(wish.get("rows", 1))) * int(
        str(wish.get("columns", 1))
    )


def test_pictures_of_a_network_without_classes(plain_page: TestClient, tmp_path: Path) -> None:
    found = answer(plain_page, seed=7, columns=2, trunc=0.5)
    assert files_of(found) == made_by(found["command"], tmp_path)
    assert plain_page.get("/network").json()["classes"] == []
    assert "trained without classes" in refusal(plain_page, first_class="dog")
    assert "trained without classes" in refusal(plain_page, trunc_center="class")


@pytest.mark.parametrize(
    ("wish", "spelled"),
    [
        ({"first_class": "class 7"}, "--class 'class 7'"),
        ({"first_class": "a, b"}, "--class 997"),
        ({"first_class": "c+d"}, "--class 998"),
        ({"first_class": "0"}, "--class 0"),  # the last one's name
        ({"first_class": "c+d", "second_class": "0", "mix": 0.25}, "--class 998:0.75+0:0.25"),
    ],
)
def test_a_thousand_classes_with_odd_names(
    many_page: TestClient, tmp_path: Path, wish: dict[str, object], spelled: str
) -> None:
    found = answer(many_page, **wish)
    assert found["command"].endswith(spelled)
    assert files_of(found) == made_by(found["command"], tmp_path)
    assert many_page.get("/network").json()["classes"] == list(NAMES)


def test_each_control_changes_the_picture(page: TestClient) -> None:
    plain = {"seed": 1, "first_class": "cat"}
    changes: list[dict[str, object]] = [
        {},
        {"seed": 2},
        {"first_class": "dog"},
        {"second_class": "dog"},
        {"second_class": "dog", "mix": 0.2},
        {"trunc": 0.5},
        {"trunc": 0.5, "trunc_center": "class"},
        {"noise_mode": "random"},
        {"noise_mode": "none"},
    ]
    pictures = [
        np.asarray(Image.open(io.BytesIO(*shown(page, **plain | change).values()))).tobytes()
        for change in changes
    ]
    assert len(set(pictures)) == len(changes)
    both = {"first_class": "cat", "second_class": "cat", "seed": 1}
    assert shown(page, **both) == shown(page, **plain)


def test_download_of_one_picture_and_of_a_grid(page: TestClient) -> None:
    def download(**wish: object) -> tuple[str, bytes]:
        response = page.get("/download", params={name: str(value) for name, value in wish.items()})
        assert response.headers["content-type"] == "image/png"
        kind, _, name = response.headers["content-disposition"].partition("; filename*=UTF-8''")
        assert kind == "attachment"
        return name, response.content

    wish: dict[str, object] = {"seed": 4, "first_class": "dog", "second_class": "cat"}
    (alone,) = shown(page, **wish).items()
    assert download(**wish) == alone
    name, content = download(**wish, rows=2, columns=3, trunc=0.5)
    grid = Image.open(io.BytesIO(content))
    assert (name, grid.size) == ("grid.png", (3 * 32, 2 * 32))
    text = grid.info
    assert (text["seed"], text["rows"], text["columns"], text["trunc"]) == ("4", "2", "3", "0.5")
    assert text["class"] == "dog:0.5+cat:0.5" and len(text["network"]) == 64
    cells = list(shown(page, **wish, rows=2, columns=3, trunc=0.5).values())
    fourth = np.asarray(Image.open(io.BytesIO(cells[3]))).repeat(2, axis=0).repeat(2, axis=1)
    assert np.array_equal(np.asarray(grid)[32:, :32], fourth)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"first_class": "cow"}, "class cow: no such class; there are 3"),
        ({"first_class": "3"}, "class 3: no such class"),
        ({"second_class": "cat"}, "second_class: is mixed with a first_class, found none"),
        ({"seed": -1}, "seed: Input should be greater than or equal to 0, found '-1'"),
        ({"seed": 2**32}, "seed: Input should be less than or equal to 4294967295"),
        ({"seed": 2**32 - 1, "columns": 2}, "pass the last one, 4294967295; take a smaller"),
        ({"seed": "x"}, "seed: Input should be a valid integer"),
        ({"rows": 9}, "rows: Input should be less than or equal to 8"),
        ({"columns": 0}, "columns: Input should be greater than or equal to 1"),
        ({"trunc": 1.6}, "trunc: Input should be less than or equal to 1.5"),
        ({"trunc": "nan"}, "trunc: Input should be"),
        ({"mix": "inf"}, "mix: Input should be"),
        ({"trunc_center": "dog"}, "trunc_center: Input should be 'global' or 'class'"),
        ({"noise_mode": "loud"}, "noise_mode: Input should be"),
        ({"first_class": "x" * 1001}, "first_class: String should have at most 1000"),
        ({"network": "other.pkl"}, "network: Extra inputs are not permitted"),
    ],
)
@pytest.mark.parametrize("path", ["/pictures", "/download"])
def test_wrong_wishes(page: TestClient, path: str, wish: dict[str, object], said: str) -> None:
    assert said in refusal(page, path, **wish)


def test_large_pictures_are_few(tmp_path: Path) -> None:
    config = tiny_config((), num_channels=1, size=(2048, 2048))
    page = client(write_network(tmp_path / "large.safetensors", config))
    assert page.get("/network").json()["most_pictures"] == 4
    line = refusal(page, rows=1, columns=5)
    assert line == "rows 1, columns 5: at most 4 pictures of 2048x2048 fit on the page; take fewer"


def test_what_the_page_is_told_of_the_network(page: TestClient, network: Path) -> None:
    assert page.get("/network").json() == {
        "name": f"{network.parent.name}/tiny.safetensors",
        "width": 16,
        "height": 16,
        "classes": list(CLASSES),
        "noise": True,
        "kimg": 5,
        "device": page.get("/network").json()["device"],
        "precision": "fp32",
        "max_seed": 2**32 - 1,
        "max_side": 8,
        "most_pictures": 64,
    }


def test_outdated_pictures_are_given_up_between_groups(network: Path) -> None:
    explorer = Explorer(ExplorerConfig(network=str(network), device="cpu"))
    wish = Wish(rows=8, columns=8)
    asked = 0

    def is_outdated() -> bool:
        nonlocal asked
        asked += 1
        return asked > 20

    with pytest.raises(OutdatedError):
        explorer.pictures(wish, is_outdated)
    assert asked == 21
    assert len(explorer.pictures(wish, lambda: False)) == 64
