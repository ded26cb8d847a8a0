"""Every command in the documentation does what it says, on little data and small networks."""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from conftest import DATA
from docs_commands import PAGES, ROOT, Command, blocks, commands, flags, inline_commands
from network_helpers import exit_status, tiny_config, write_network
from PIL import Image

from benchmarks.options_page import load_command, scripts
from dnnlib.cli import CONTEXT

# The same commands on less: the last of a repeated option counts.
SMALLER = {
    "dataset_tool": "--resolution 16 --max-per-class 8",
    "train": "--cfg tiny --kimg 0.032 --tick 0.032 --snap 1 --workers 0 --device cpu --gpus 1",
    "interpolation": "--seconds 0.2 --fps 10",
    "projector": "--steps 2",
    "training.study": "--images 1",
    "training.augment": "--columns 2",
}
# Commands that are understood here and run elsewhere, or nowhere, and why.
ONLY_PARSED = {
    r"^python -m benchmarks\.": "measures for minutes; each has a test of its own",
    r"^python explore\.py": "serves until Ctrl-C; tests/test_explore_script.py drives it",
    r"^python export\.py": "tests/test_export.py writes and runs such files",
    r"--detector inception": "its weights are not in the repository",
    r"^torchrun ": "takes several machines; tests/test_distributed.py runs it on one",
}
# Prepared beside what all pages have: the README begins with pictures alone.
FIRST = {"README.md": {"flowers"}}
RESULTS = {
    "README.md": (
        "digits.png",
        "out/digits/grid.png",
        "out/from5to1/interpolation-5-1.mp4",
        "data/flowers64.zip",
        "out/images/seed0077-rose.png",
        "out/grid/grid.png",
        "out/chain/*.mp4",
    ),
    "assets/README.md": ("assets/mnist5k.zip", "mnist32.zip"),
    "docs/augmentation.md": ("sheet.png",),
    "docs/data.md": ("data/flowers64.zip", "sheet.png"),
    "docs/dual-diffusion.md": ("digits16.zip", "study/overview.png", "study/path.png"),
    "docs/networks.md": ("published.safetensors", "out/published/seed0007*.png"),
    "docs/pictures.md": (
        "out/roses/seed0077-rose.png",
        "out/grid/grid.png",
        "out/mixed/seed0007-rose-0.5_daisy-0.5.png",
        "out/again/seed0003-rose-0000.png",
        "out/fakes.zip",
        "out/chain/interpolation-rose-daisy-rose.mp4",
        "out/chain/interpolation-rose-daisy-rose-strip.png",
        "out/latents/interpolation-rose-seed0000-seed0001-and2.webp",
        "out/both/interpolation-rose-daisy.gif",
    ),
    "docs/styles.md": ("out/mixed/grid.png", "out/again/projected_w-0000.png"),
}
# Options of other programs.
FOREIGN = {
    "--nnodes", "--nproc-per-node", "--rdzv-backend", "--rdzv-endpoint", "--rdzv-id",  # torchrun
    "--nodes", "--ntasks-per-node", "--gpus-per-node", "--cpus-per-task", "--signal", "--requeue",
    "--time", "--open-mode", "--job-name",  # sbatch
    "--no-deps",  # pip
}  # fmt: skip


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the pages take for granted, and a run of one step."""
    folder = tmp_path_factory.mktemp("workplace")
    random = np.random.default_rng(0)
    for name in ("daisy", "rose"):
        (folder / "flowers" / name).mkdir(parents=True)
        for number in range(8):
            pixels = random.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "flowers" / name / f"{number}.png")
    Image.fromarray(pixels).save(folder / "photo.jpg")
    digits = random.integers(0, 256, (20, 28, 28), dtype=np.uint8)
    np.savez(folder / "mnist5k.npz", x=digits, y=np.arange(20, dtype=np.uint8) % 10)
    shutil.copy(DATA / "legacy_stylegan2ada.pkl", folder / "PUBLISHED.pkl")
    write_network(folder / "network.safetensors", tiny_config(num_channels=3))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("dataset_tool", "--source flowers --dest data/flowers64.zip --resolution 16")
        run("train", f"--outdir runs --data data/flowers64.zip {SMALLER['train']} --exp-id first")
    for copy in ("flowers64.zip", "my-data.zip", "generated.zip"):
        shutil.copy(folder / "data" / "flowers64.zip", folder / copy)
    return folder


@pytest.fixture
def here(
    request: pytest.FixtureRequest,
    workplace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """The folder in which the commands of a page, the test's parameter, are typed."""
    page = request.node.callspec.params["page"]
    monkeypatch.setenv("DUDGAN_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "here"
    shutil.copytree(workplace, folder)
    monkeypatch.chdir(folder)
    for path in Path().iterdir():
        if path.name not in FIRST.get(page, {path.name}):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for command in commands(page):
        if "--dest" in command.words:  # what it is to make is not there
            Path(command.words[command.words.index("--dest") + 1]).unlink(missing_ok=True)
    for index, code in enumerate(blocks(page, "python")):
        if "(NetworkDetector)" in code:
            Path("my_detector.py").write_text(code, encoding="utf-8")
            assert index == 0
    return folder


def run(script: str, arguments: str) -> None:
    assert exit_status(load_command(script), *shlex.split(arguments)) == 0


def only_parsed(command: Command) -> bool:
    return any(re.search(pattern, command.text) for pattern in ONLY_PARSED)


def smaller(command: Command) -> list[str]:
    """The arguments of a command, for the tiny network and data of these tests."""
    script, words = command.script, command.arguments
    if script == "train" and "--data" not in words:  # a run that goes on keeps its settings
        extra = "--kimg 0.064 --device cpu --gpus 1"
    elif {"--check", "--list-classes"} & set(words):
        extra = ""
    else:
        extra = SMALLER.get(script, "")
    if script == "calc_metrics":
        words = [re.sub(r"(?<=[a-z])\d+k", "32", word) for word in words]
    if "NETWORK" in words:
        network = str(max(Path("runs").iterdir()))
        words = [network if word == "NETWORK" else word for word in words]
    words = ["50" if word == "50000" else word for word in words]
    return words + shlex.split(extra)


def bring_run(word: str) -> None:
    """Runs that a page speaks of, but did not make, are copies of the one that there is."""
    if re.match(r"runs/\d{5}-", word) and not Path(word).exists():
        shutil.copytree(next(Path("runs").iterdir()), word)


@pytest.mark.parametrize("page", PAGES)
def test_commands_run_in_order(page: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in commands(page):
        if command.words[0] != "python" or only_parsed(command):
            continue
        for word in command.words:
            bring_run(word)
        arguments = smaller(command)
        status = exit_status(load_command(command.script), *arguments)
        assert status == 0, f"{command.text} as {arguments}: {capsys.readouterr().err}"
    missing = [result for result in RESULTS.get(page, ()) if not any(here.glob(result))]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_examples_in_python_run(page: str, here: Path) -> None:
    for code in blocks(page, "python"):
        if "net.onnx" in code or "net.pt2" in code:
            continue  # tests/test_export.py makes such files and runs these
        for word in re.findall(r'"([^"]*)"', code):
            bring_run(word)
        exec(compile(code, page, "exec"), {"images": torch.zeros(2, 3, 16, 16)})


def test_what_is_only_parsed_is_there_and_is_understood() -> None:
    every = [command for page in PAGES for command in commands(page)]
    for pattern in ONLY_PARSED:
        found = [command for command in every if re.search(pattern, command.text)]
        assert found, f"no command matches {pattern!r} any more"
        for command in found:
            understand(command)


def understand(command: Command) -> None:
    """Fail where a script would refuse the words of its command line."""
    words = command.words
    if words[0] == "torchrun":
        script = next(word for word in words if word.endswith(".py"))
        words = ["python", *words[words.index(script) :]]
    line = Command(command.page, shlex.join(words))
    load_command(line.script).make_context(line.script, line.arguments)


@pytest.mark.parametrize("page", PAGES)
def test_commands_within_sentences_have_options_that_exist(page: str) -> None:
    for command in inline_commands(page):
        script = load_command(command.script)
        parser = script.make_parser(click.Context(script, **CONTEXT))
        parser.parse_args(command.arguments)  # refuses options, not values


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_other_programs_name_what_is_there(page: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for program, *words in [command.words for command in commands(page)]:
        if program == "make":
            for word in words:
                name, sets, _ = word.partition("=")
                declared = rf"^{name} \?=" if sets else rf"^{name}:"
                assert re.search(declared, makefile, flags=re.MULTILINE), word
        elif program == "conda":
            assert all((ROOT / word).is_file() for word in words if word.endswith(".yml"))
        elif program == "pip":
            assert all((ROOT / word).is_file() for word in words if word.endswith(".txt"))
            for extras in re.findall(r"\[([\w,]+)\]", " ".join(words)):
                assert set(extras.split(",")) <= set(project["optional-dependencies"])
        elif program == ".venv/bin/python":
            assert words[:2] == ["-m", "pytest"]
            assert all((ROOT / word).is_file() for word in words[2:]), words
        else:
            assert program in {"python", "torchrun", "ssh"}, program


def test_every_option_that_a_page_names_exists() -> None:
    known = {
        flag.replace("_", "-")
        for script in scripts()
        for parameter in load_command(script).params
        for flag in (*parameter.opts, *parameter.secondary_opts)
    }
    unknown = {page: flags(page) - known - FOREIGN - {"--help"} for page in PAGES}
    assert {page: names for page, names in unknown.items() if names} == {}


def test_every_page_with_commands_is_looked_at() -> None:
    """Where the marks of blocks change, the tests above must not become empty."""
    assert sum(len(commands(page)) for page in PAGES) > 40
    assert sum(len(inline_commands(page)) for page in PAGES) > 10
