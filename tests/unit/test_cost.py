"""The cost meter: which phase is charged with what, and what stays unknown."""

from __future__ import annotations

import os
import time
from mmap import mmap

import pytest

from tdbench.bench import cost
from tdbench.bench.cost import CostMeter
from tdbench.bench.record import PhaseCost


def busy(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(1_000))


def by_name(meter: CostMeter) -> dict[str, PhaseCost]:
    return {phase.phase: phase for phase in meter.phases}


def test_nested_phases_are_exclusive_and_add_up_to_the_whole():
    meter = CostMeter()
    start = time.perf_counter()
    with meter.phase("outer"):
        time.sleep(0.06)
        with meter.phase("inner"):
            time.sleep(0.12)
            with meter.phase("innermost"):
                time.sleep(0.03)
        time.sleep(0.03)
    whole = time.perf_counter() - start
    phases = by_name(meter)
    assert [phase.phase for phase in meter.phases] == ["innermost", "inner", "outer"]
    assert sum(phase.wall_s for phase in meter.phases) == pytest.approx(whole, abs=0.01)
    assert phases["outer"].wall_s == pytest.approx(0.09, abs=0.05)
    assert phases["inner"].wall_s == pytest.approx(0.12, abs=0.05)
    assert phases["innermost"].wall_s == pytest.approx(0.03, abs=0.05)


def test_time_between_phases_belongs_to_none():
    meter = CostMeter()
    with meter.phase("a"):
        pass
    time.sleep(0.1)
    with meter.phase("b"):
        pass
    assert sum(phase.wall_s for phase in meter.phases) < 0.09


def test_phases_of_one_name_are_listed_one_by_one():
    meter = CostMeter()
    for _ in range(2):
        with meter.phase("train"):
            pass
    assert [phase.phase for phase in meter.phases] == ["train", "train"]


def test_a_phase_that_fails_is_still_charged_and_closed():
    meter = CostMeter()
    with pytest.raises(KeyError), meter.phase("outer"), meter.phase("inner"):
        raise KeyError
    assert [phase.phase for phase in meter.phases] == ["inner", "outer"]
    with meter.phase("next"):
        meter.add_flops(1.0, "x")
    assert by_name(meter)["outer"].flops is None


def test_operations_are_booked_on_the_open_phase_with_method_and_gaps():
    meter = CostMeter()
    with meter.phase("outer"):
        meter.add_flops(10, "analytic", ("softmax",))
        with meter.phase("inner"):
            meter.add_flops(5, "counted", ("softmax",))
            meter.add_flops(7, "analytic", ("softmax", "optimiser"))
        meter.add_flops(100, "analytic", ("softmax",))
        with meter.phase("uncounted"):
            pass
    phases = by_name(meter)
    assert (phases["outer"].flops, phases["inner"].flops) == (110, 12)
    assert (phases["outer"].flops_method, phases["inner"].flops_method) == ("analytic", "counted; analytic")
    assert (phases["outer"].flops_gaps, phases["inner"].flops_gaps) == (("softmax",), ("softmax", "optimiser"))
    assert (phases["uncounted"].flops, phases["uncounted"].flops_method) == (None, None)


def test_operations_outside_any_phase_are_refused():
    with pytest.raises(RuntimeError, match="needs an open phase"):
        CostMeter().add_flops(1.0, "x")


def test_a_cache_hit_is_charged_with_its_cold_cost_and_marked():
    meter = CostMeter()
    cold = PhaseCost(phase="encode", wall_s=12.0, cpu_s=20.0, flops=3e9, flops_method="analytic")
    with meter.phase("distil"):
        meter.charge(cold)
    charged = by_name(meter)["encode"]
    assert charged == cold.model_copy(update={"from_cache": True})
    assert not cold.from_cache
    assert by_name(meter)["distil"].wall_s < 6.0
    assert not by_name(meter)["distil"].from_cache


def test_processor_seconds_follow_work_and_not_waiting():
    meter = CostMeter()
    with meter.phase("work"):
        busy(0.4)
    with meter.phase("wait"):
        time.sleep(0.4)
    phases = by_name(meter)
    assert 0.3 <= phases["work"].cpu_s <= 0.8
    assert phases["work"].cpu_s <= phases["work"].wall_s + 0.1
    assert phases["wait"].cpu_s <= 0.2
    assert phases["wait"].wall_s >= 0.4


def test_what_a_cpu_run_cannot_know_is_null_and_not_zero():
    meter = CostMeter("cpu")
    with meter.phase("a"):
        pass
    (phase,) = meter.phases
    assert (phase.gpu_s, phase.peak_gpu_gb, phase.flops) == (None, None, None)
    assert 0.01 < phase.peak_rss_gb < 100


def test_energy_without_a_counter_is_null_with_no_source(monkeypatch, tmp_path):
    monkeypatch.setattr(cost, "_RAPL", tmp_path)
    meter = CostMeter()
    with meter.phase("a"):
        busy(0.01)
    assert (meter.phases[0].energy_j, meter.phases[0].energy_source) == (None, None)


@pytest.mark.parametrize(("after_uj", "energy_j"), [(4_000_000, 3.0), (10, None)])
def test_energy_is_the_difference_of_the_package_counters_and_unknown_when_they_wrap(
    monkeypatch, tmp_path, after_uj, energy_j
):
    for zone in ("intel-rapl:0", "intel-rapl:0:0"):  # a part of the package is not counted twice
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "energy_uj").write_text("1000000")
    monkeypatch.setattr(cost, "_RAPL", tmp_path)
    meter = CostMeter()
    with meter.phase("a"):
        for zone in ("intel-rapl:0", "intel-rapl:0:0"):
            (tmp_path / zone / "energy_uj").write_text(str(after_uj))
    assert meter.phases[0].energy_j == energy_j
    assert (meter.phases[0].energy_source is None) == (energy_j is None)


def test_memory_peaks_belong_to_the_phase_that_reached_them():
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("this system does not let a process reset its memory peak")
    meter = CostMeter()
    with meter.phase("small"):
        pass
    with (
        meter.phase("large"),
        mmap(-1, 200_000_000) as block,
    ):  # fresh pages: freed memory that the allocator keeps is no new peak
        for start in range(0, 200_000_000, 4096):
            block[start] = 1
    phases = by_name(meter)
    assert phases["large"].peak_rss_gb >= phases["small"].peak_rss_gb + 0.15
