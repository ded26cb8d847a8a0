"""From seeds to pictures: the same bits whatever the batch, precision, noise, the Python loader."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from network_helpers import tiny_config, write_network
from torch import Tensor

from dnnlib import UserError
from dnnlib.logs import logger
from training.generation.cuda_graph import GraphedFunction
from training.generation.groups import group_size, in_groups
from training.generation.load import ComputeConfig, load_generator, make_synthesizer
from training.generation.pixel_noise import seeded_noise, synthesise_with
from training.generation.synthesis import StyleConfig, Synthesizer
from training.players import Players
from training.snapshots import NetworkFile, load_network

pytest_plugins = ["network_fixtures"]

CPU = torch.device("cpu")
DOCS = (Path(__file__).parent.parent / "docs" / "pictures.md").read_text(encoding="utf-8")


def synthesizer_of(network: Path, style: StyleConfig | None = None) -> Synthesizer:
    return make_synthesizer(load_network(str(network)), CPU, style or StyleConfig())


@pytest.mark.parametrize("size", [(16, 16), (32, 32), (128, 64)])
@pytest.mark.parametrize("style", [
    StyleConfig(),
    StyleConfig(trunc=0.7, trunc_center="class", noise_mode="random"),
])  # fmt: skip
def test_pictures_are_the_same_bits_whatever_the_batch(
    tmp_path: Path, size: tuple[int, int], style: StyleConfig
) -> None:
    network = write_network(tmp_path / "a.safetensors", tiny_config(num_channels=3, size=size))
    synthesizer = synthesizer_of(network, style)
    generator = torch.Generator().manual_seed(0)
    count = synthesizer.group + 5
    seeds = torch.randperm(1000, generator=generator)[:count].tolist()
    c = torch.rand(count, 3, generator=generator)  # mixtures too
    c[::2] = torch.eye(3)[torch.arange(count)[::2] % 3]
    together = synthesizer.pictures(seeds, c)
    assert together.shape == (count, 3, size[1], size[0])
    for batch in (1, 2, 7):
        parts = [
            synthesizer.pictures(seeds[first : first + batch], c[first : first + batch])
            for first in range(0, count, batch)
        ]
        assert torch.equal(torch.cat(parts), together)
    order = torch.randperm(count, generator=generator)
    shuffled = synthesizer.pictures([seeds[index] for index in order], c[order])
    assert torch.equal(shuffled, together[order])


def test_groups_depend_on_the_network_and_fill_up(network: Path) -> None:
    sizes = {}
    for side in (16, 32, 64, 128):
        generator = Players(tiny_config(size=(side, side))).G_ema
        sizes[side] = group_size(generator)
    assert sizes == {16: 16, 32: 16, 64: 4, 128: 1}
    seen: list[int] = []

    def doubled(x: Tensor, y: Tensor) -> Tensor:
        seen.append(len(x))
        return 2 * x + y[:, :1]

    x, y = torch.arange(7.0)[:, None], torch.ones(7, 2)
    assert torch.equal(in_groups(doubled, 3, x, y), 2 * x + 1)
    assert seen == [3, 3, 3]
    synthesizer = synthesizer_of(network)
    assert [synthesizer.whole_groups(count) for count in (1, 16, 17)] == [16, 16, 32]


def test_labels_may_be_numbers_or_vectors(network: Path) -> None:
    synthesizer = synthesizer_of(network)
    by_number = synthesizer.pictures([1, 2], torch.tensor([2, 0]))
    by_vector = synthesizer.pictures([1, 2], torch.tensor([[0.0, 0, 1], [1, 0, 0]]))
    assert torch.equal(by_number, by_vector)


def test_a_style_can_be_changed_without_a_new_synthesizer(network: Path) -> None:
    first = synthesizer_of(network)
    second = first.with_style(StyleConfig(trunc=0, trunc_center="class", noise_mode="none"))
    labels = torch.tensor([1, 1])
    a, b = second.pictures([0, 1], labels)
    assert torch.equal(a, b)
    assert not torch.equal(*first.pictures([0, 1], labels))
    fresh = synthesizer_of(network, second.style)
    assert torch.equal(fresh.pictures([0, 1], labels)[0], a)


def test_seeded_noise_takes_the_place_of_constant_noise(network: Path) -> None:
    synthesis = load_network(str(network)).generator.synthesis
    ws = torch.randn(2, synthesis.num_ws, 16, generator=torch.Generator().manual_seed(0))
    constant = torch.cat([
        buffer.flatten() for name, buffer in synthesis.named_buffers() if "noise" in name
    ])  # fmt: skip
    with torch.no_grad():
        expected = synthesis(ws, noise_mode="const")
        found = synthesise_with(synthesis, ws, constant.expand(2, -1))
        zero = synthesise_with(synthesis, ws, torch.zeros(2, len(constant)))
        none = synthesis(ws, noise_mode="none")
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(zero, none)
    noise = seeded_noise(synthesis, [5, 6, 5], CPU)
    assert noise.shape == (3, len(constant)) and torch.equal(noise[0], noise[2])
    assert abs(float(noise[:2].mean())) < 0.1 and abs(float(noise[:2].std()) - 1) < 0.1
    assert abs(float(torch.corrcoef(noise[:2])[0, 1])) < 0.1


def test_lower_precision_changes_pixels_a_little_and_the_given_network_only(network: Path) -> None:
    labels = torch.tensor([0, 1, 2])
    exact = synthesizer_of(network).pictures([0, 1, 2], labels).int()
    seen: list[torch.dtype] = []
    low = make_synthesizer(
        load_network(str(network)), CPU, StyleConfig(), ComputeConfig(precision="bf16")
    )
    low.generator.synthesis.get_submodule("b16.conv1").register_forward_hook(
        lambda module, inputs, output: seen.append(output.dtype)
    )
    found = low.pictures([0, 1, 2], labels).int()
    assert seen == [torch.bfloat16]
    assert 0 < (found - exact).abs().max() <= 24 and (found - exact).abs().float().mean() < 3


def test_fp16_without_a_clamp_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def warnings(clamp: float | None) -> list[str]:
        config = tiny_config()
        sizes = config.generator.model_copy(update={"conv_clamp": clamp})
        config = config.model_copy(update={"generator": sizes})
        said: list[str] = []
        monkeypatch.setattr(logger, "warning", said.append)
        file = NetworkFile(Path("a"), "", config, 0, Players(config).eval())
        make_synthesizer(file, CPU, StyleConfig(), ComputeConfig(precision="fp16"))
        return said

    monkeypatch.setattr("training.generation.load.check_precision", lambda precision, device: None)
    assert "does not clamp" in warnings(None)[0]
    assert not warnings(256.0)


def test_the_documented_lines_make_pictures(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", DOCS, flags=re.DOTALL)
    assert len([line for line in block.splitlines() if line.strip()]) == 5
    config = tiny_config(["rose", "daisy"], num_channels=3)
    write_network(tmp_path / "run" / "network-best.safetensors", config)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(re.sub(r'load_generator\(".*?"', 'load_generator("run"', block), names)
    images = names["images"]
    assert isinstance(images, Tensor)
    assert (images.dtype, tuple(images.shape)) == (torch.uint8, (3, 3, 16, 16))


def test_loaded_generator_is_generate_py(network: Path) -> None:
    generator = load_generator(str(network), device="cpu")
    assert generator.facts.class_names == ("cat", "dog", "wild")
    labels = torch.tensor([1, 1, 1])
    expected = synthesizer_of(network).pictures([4, 5, 6], labels)
    assert torch.equal(generator([4, 5, 6], "dog"), expected)
    assert torch.equal(generator(range(4, 7), ["dog", 1, "1"]), expected)
    assert torch.equal(generator(np.arange(4, 7), 1), expected)
    assert torch.equal(generator(torch.arange(4, 7), 1), expected)
    for single in (np.int64(5), np.array(5), torch.tensor(5)):
        assert torch.equal(generator(single, 1)[0], expected[1])
    assert torch.equal(generator(5, "dog:1"), expected[1:2])
    each = generator([4, 5, 6])
    assert torch.equal(generator(6)[0], each[2])
    style = StyleConfig(trunc=0.5, trunc_center="class", noise_mode="random")
    styled = synthesizer_of(network, style).pictures([4, 5, 6], labels)
    assert torch.equal(generator([4, 5, 6], "dog", 0.5, "class", "random"), styled)


def test_loaded_generator_without_classes(unconditional: Path) -> None:
    generator = load_generator(str(unconditional), device="cpu")
    assert generator([1, 2]).shape == (2, 3, 8, 16)
    with pytest.raises(ValueError, match="without classes"):
        generator(1, "dog")


def test_wrong_arguments_of_the_loader(network: Path, tmp_path: Path) -> None:
    generator = load_generator(str(network), device="cpu")
    with pytest.raises(UserError, match="one for each of 3 seeds, found 2"):
        generator([1, 2, 3], ["dog", "cat"])
    with pytest.raises(UserError, match="no such class"):
        generator(1, "cow")
    with pytest.raises(UserError, match="seeds: takes at least one"):
        generator([])
    with pytest.raises(UserError, match=r"--trunc: .* finite number, found nan"):
        generator(1, trunc=math.nan)
    with pytest.raises(UserError, match="none: no such file"):
        load_generator(str(tmp_path / "none"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("noise_mode", ["const", "random", "none"])
def test_cuda_graphs_make_the_same_pictures(network: Path, noise_mode: str) -> None:
    device = torch.device("cuda")
    style = StyleConfig.model_validate({"noise_mode": noise_mode})
    plain = make_synthesizer(load_network(str(network)), device, style)
    graphed = make_synthesizer(
        load_network(str(network)), device, style, ComputeConfig(cuda_graphs=True)
    )
    labels = torch.arange(70) % 3
    for first in (0, 100):
        seeds = range(first, first + 70)
        assert torch.equal(graphed.pictures(seeds, labels), plain.pictures(seeds, labels))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_graphed_function_keeps_its_earlier_results() -> None:
    function = GraphedFunction(torch.square, torch.zeros(3, device="cuda"))
    first = function(torch.tensor([1.0, 2.0, 3.0], device="cuda"))
    second = function(torch.tensor([4.0, 5.0, 6.0], device="cuda"))
    assert first.tolist() == [1, 4, 9] and second.tolist() == [16, 25, 36]
