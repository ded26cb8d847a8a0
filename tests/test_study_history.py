"""What a study reads from a run, and where it takes the horizons to stand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from training_helpers import small_config

from dnnlib import UserError
from training.config import TrainingConfig
from training.study.history import History, read_config, read_history
from training.study.stages import (
    diffusions,
    noisy_networks,
    planned_stages,
    recorded_stages,
)

BROKEN = (b"{", b'{"step": 1}', b'{"kimg": null}', b"[1]", b"\xff\xfe", 100_000 * b"[", b"")


def tick(kimg: float, **values: float | None) -> str:
    return json.dumps({"kimg": kimg, "step": 1} | values) + "\n"


def write(folder: Path, *lines: str) -> Path:
    (folder / "stats.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_history(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_series_keep_their_order_and_gaps(tmp_path: Path) -> None:
    lines = tick(1, T_D=10.0), tick(2.5, T_D=None), tick(4, T_D=30.0, T_C=7.0)
    history = read_history(write(tmp_path, *lines))
    assert history.kimg == [1, 2.5, 4]
    assert [str(value) for value in history.series("T_D")] == ["10.0", "nan", "30.0"]
    assert history.has("T_C") and not history.has("p_D")
    assert history.at(0, "T_D") == 10 and history.at(1, "T_C") == 7
    assert math.isnan(history.at(0.5, "T_D"))


def test_what_was_done_again_after_a_checkpoint_counts(tmp_path: Path) -> None:
    lines = [tick(kimg, T_D=kimg) for kimg in (1, 2, 3, 4)]
    again = [tick(kimg, T_D=10 * kimg) for kimg in (3, 4, 5)]
    history = read_history(write(tmp_path, *lines, *again))
    assert history.kimg == [1, 2, 3, 4, 5]
    assert history.series("T_D") == [1, 2, 30, 40, 50]


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    assert read_history(write(tmp_path, tick(1), '{"kimg": 2, "T_')).kimg == [1]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_line_costs_that_line_and_a_warning(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    broken: bytes,
) -> None:
    lines = [tick(1).encode(), broken, tick(2).encode()]
    (tmp_path / "stats.jsonl").write_bytes(b"\n".join(line.rstrip() for line in lines) + b"\n")
    monkeypatch.setattr("dnnlib.logs.logger.propagate", True)
    history = read_history(tmp_path)
    assert (history.kimg, history.left_out) == ([1, 2], 1)
    assert "stats.jsonl: 1 broken line left out" in caplog.text


def test_a_value_that_is_no_number_was_not_told(tmp_path: Path) -> None:
    path = write(tmp_path, '{"kimg": 1, "T_D": "x", "T_C": 1e999, "p_D": true}\n', tick(2, T_D=3))
    history = read_history(path)
    assert [str(value) for value in history.series("T_D")] == ["nan", "3.0"]
    assert not history.has("T_C") and not history.has("p_D") and history.left_out == 0


def test_a_run_without_ticks_is_refused(tmp_path: Path) -> None:
    assert "it has no stats.jsonl" in refused(tmp_path)
    for lines in ((), ("{\n",)):
        assert "stats.jsonl tells of no tick" in refused(write(tmp_path, *lines))


def test_the_configuration_is_the_runs(tmp_path: Path) -> None:
    config = small_config(t_max=77)
    with pytest.raises(UserError, match="not the folder of a run"):
        read_config(tmp_path)
    (tmp_path / "training_options.json").write_text(config.to_json(), encoding="utf-8")
    assert read_config(tmp_path) == config


def horizons(config: TrainingConfig, network: str) -> list[int]:
    return [stage.horizons[network] for stage in planned_stages(config)]


def test_planned_stages_are_the_ends_and_the_middle_of_the_way() -> None:
    config = small_config(t_min=10, t_max=1000, t_max_c=300, ramp_c=0.5, aug="ada", ada_maxp=0.6)
    assert [stage.name for stage in planned_stages(config)] == ["start", "middle", "end"]
    assert horizons(config, "D") == [10, 505, 1000]
    assert horizons(config, "C") == [10, 82, 155]
    assert [stage.p_augment for stage in planned_stages(config)] == pytest.approx([0, 0.3, 0.6])


def test_only_networks_that_see_noise_are_drawn() -> None:
    assert list(noisy_networks(small_config())) == ["D", "C"]
    assert list(noisy_networks(small_config(classifier=False))) == ["D"]
    assert list(noisy_networks(small_config(num_classes=0))) == ["D"]
    assert list(noisy_networks(small_config(noise_d=False))) == ["C"]
    assert noisy_networks(small_config(noise_model="none")) == {}
    assert [stage.p_augment for stage in planned_stages(small_config())] == [None] * 3


def test_a_ramp_of_d_and_an_adaptive_c_end_where_they_may() -> None:
    given = {"horizon_d": "ramp", "ramp_d": 0.5, "horizon_c": "adaptive", "t_min": 10}
    config = small_config(t_max=110, t_max_c=30, **given)
    assert horizons(config, "D") == [10, 35, 60]
    assert horizons(config, "C") == [10, 20, 30]


def test_local_noise_is_planned_to_begin_and_recorded_as_it_went() -> None:
    config = small_config(noise_model="local", local_sd=0.03)
    assert list(noisy_networks(config)) == ["D", "C"] and diffusions(config) == {}
    (stage,) = planned_stages(config)
    assert (stage.name, stage.horizons, stage.local_sd) == ("start", {}, (0.03, 0.03))
    ticks = [
        {"kimg": kimg, "local_sd_min_D": 0.01 * kimg, "local_sd_max_D": 0.02 * kimg}
        for kimg in (1.0, 2.0, 3.0)
    ]
    recorded = [stage.local_sd for stage in recorded_stages(config, History(tuple(ticks)))]
    assert recorded == [(0.01 * kimg, 0.02 * kimg) for kimg in (1.0, 2.0, 3.0)]
    assert len(planned_stages(small_config(noise_model="local", aug="ada"))) == 3


def test_recorded_stages_are_ticks_of_the_run() -> None:
    records = [
        {"kimg": float(kimg), "T_D": 10.0 * kimg, "T_C": 5.0, "p_augment": kimg / 10}
        for kimg in (1, 2, 3, 4, 5)
    ]
    stages = recorded_stages(small_config(), History(tuple(records)))
    assert [stage.name for stage in stages] == ["1 kimg", "3 kimg", "5 kimg"]
    assert [stage.horizons for stage in stages] == [{"D": t, "C": 5} for t in (10, 30, 50)]
    assert [stage.p_augment for stage in stages] == [0.1, 0.3, 0.5]


def test_a_run_of_one_tick_has_all_stages_there() -> None:
    history = History(({"kimg": 4.0, "T_D": 12.0, "T_C": 13.0},))
    stages = recorded_stages(small_config(), history)
    assert [stage.horizons for stage in stages] == [{"D": 12, "C": 13}] * 3
    assert stages[0].p_augment is None


def test_a_run_that_does_not_tell_a_horizon_is_refused() -> None:
    with pytest.raises(UserError, match="does not tell T_C"):
        recorded_stages(small_config(), History(({"kimg": 4.0, "T_D": 12.0},)))
