"""Measures what each phase of a stage costs. Nested phases are exclusive: an inner phase's cost is not in the outer one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tdbench.bench.record import LLMCost, PhaseCost

AMOUNTS = ("wall_s", "cpu_s", "gpu_s", "flops", "energy_j")
"""What adds up over phases; the rest are peaks and remarks."""
_GB = 1e9
_RAPL = Path("/sys/class/powercap")


@dataclass
class _Reading:
    wall_s: float
    cpu_s: float
    energy_j: float | None

    def __sub__(self, other: _Reading) -> _Reading:
        known = self.energy_j is not None and other.energy_j is not None
        energy = self.energy_j - other.energy_j if known else None  # type: ignore[operator]
        # The counters wrap around; a negative difference is unknown, not negative.
        return _Reading(
            self.wall_s - other.wall_s, self.cpu_s - other.cpu_s, None if energy is None or energy < 0 else energy
        )


@dataclass
class _Open:
    name: str
    wall_s: float = 0.0
    cpu_s: float = 0.0
    energy_j: float | None = 0.0
    peak_rss_gb: float | None = None
    peak_gpu_gb: float | None = None
    flops: float | None = None
    methods: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    llm: LLMCost | None = None


class CostMeter:
    """Collects the cost of named phases.

    Args:
        device: `cpu` or `cuda`; on a GPU, phases wait for the device before they read the clock.
    """

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        self._stack: list[_Open] = []
        self._since = self._read()
        self.phases: list[PhaseCost] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measures a phase; phases of one name are listed one by one in the order they end."""
        self._settle()
        self._stack.append(_Open(name))
        _reset_peaks(self._device)
        try:
            yield
        finally:
            self._settle()
            self.phases.append(self._close(self._stack.pop()))
            _reset_peaks(self._device)

    def add_flops(self, flops: float, method: str, gaps: tuple[str, ...] = ()) -> None:
        """Adds floating-point operations to the open phase.

        Args:
            flops: Operations, a multiply-add counting two.
            method: How they were counted.
            gaps: What the count leaves out.
        """
        if not self._stack:
            raise RuntimeError("add_flops needs an open phase: use it inside `with cost.phase(name):`")
        top = self._stack[-1]
        top.flops = (top.flops or 0.0) + flops
        top.methods += [method] if method not in top.methods else []
        top.gaps += [gap for gap in gaps if gap not in top.gaps]

    def add_llm(self, cost: LLMCost) -> None:
        """Adds calls of language models to the open phase."""
        if not self._stack:
            raise RuntimeError("add_llm needs an open phase: use it inside `with cost.phase(name):`")
        self._stack[-1].llm = added(self._stack[-1].llm, cost)

    def charge(self, cost: PhaseCost) -> None:
        """Adds the cold cost of something that was read from a cache."""
        self.phases.append(cost.model_copy(update={"from_cache": True}))

    def _settle(self) -> None:
        """Books the time since the last reading on the open phase."""
        now = self._read()
        if self._stack:
            spent, top = now - self._since, self._stack[-1]
            top.wall_s += spent.wall_s
            top.cpu_s += spent.cpu_s
            known = top.energy_j is not None and spent.energy_j is not None
            top.energy_j = top.energy_j + spent.energy_j if known else None  # type: ignore[operator]
            top.peak_rss_gb = _largest(top.peak_rss_gb, _peak_rss_gb())
            top.peak_gpu_gb = _largest(top.peak_gpu_gb, _peak_gpu_gb(self._device))
        self._since = now

    def _close(self, done: _Open) -> PhaseCost:
        return PhaseCost(
            phase=done.name,
            wall_s=done.wall_s,
            cpu_s=done.cpu_s,
            gpu_s=done.wall_s if self._device.startswith("cuda") else None,
            flops=done.flops,
            flops_method="; ".join(done.methods) or None,
            flops_gaps=tuple(done.gaps),
            peak_rss_gb=done.peak_rss_gb,
            peak_gpu_gb=done.peak_gpu_gb,
            energy_j=done.energy_j,
            energy_source=None if done.energy_j is None else _energy_source(self._device),
            llm=done.llm,
        )

    def _read(self) -> _Reading:
        if self._device.startswith("cuda"):
            import torch

            torch.cuda.synchronize()
        times = os.times()
        cpu = times.user + times.system + times.children_user + times.children_system
        return _Reading(time.perf_counter(), cpu, _energy_j(self._device))


def merged(phases: list[PhaseCost]) -> list[PhaseCost]:
    """Adds up phases of one name; an amount that one of them does not know is unknown, and peaks are the largest."""
    made: dict[str, PhaseCost] = {}
    for phase in phases:
        if phase.phase not in made:
            made[phase.phase] = phase
            continue
        known = made[phase.phase]
        update: dict[str, Any] = {"llm": added(known.llm, phase.llm)}
        update |= {
            name: None if None in (a := getattr(known, name), b := getattr(phase, name)) else a + b for name in AMOUNTS
        }
        update |= {
            name: _largest(getattr(known, name), getattr(phase, name)) for name in ("peak_rss_gb", "peak_gpu_gb")
        }
        made[phase.phase] = known.model_copy(update=update)
    return list(made.values())


def added(a: LLMCost | None, b: LLMCost | None) -> LLMCost | None:
    """Adds up calls of language models; tokens or money that one of both does not know are unknown."""
    if a is None or b is None:
        return b if a is None else a
    sums: dict[str, Any] = {
        name: None if None in (x := getattr(a, name), y := getattr(b, name)) else x + y
        for name in ("calls", "calls_kept", "tokens_in", "tokens_out", "usd")
    }
    return LLMCost(models=tuple(dict.fromkeys((*a.models, *b.models))), **sums)


def share(cost: PhaseCost, parts: float) -> PhaseCost:
    """Returns one of `parts` equal shares of a cost, which need not be a whole number; memory peaks belong to all of them."""
    values = {name: getattr(cost, name) for name in AMOUNTS}
    return cost.model_copy(update={name: None if value is None else value / parts for name, value in values.items()})


def _largest(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else max(a, b)


def _reset_peaks(device: str) -> None:
    """Lets the kernel's and CUDA's high-water marks start anew; where that is refused the peak stays the process's."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats()


def _peak_rss_gb() -> float | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    values = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return values[0] * 1024 / _GB if values else None


def _peak_gpu_gb(device: str) -> float | None:
    if not device.startswith("cuda"):
        return None
    import torch

    return torch.cuda.max_memory_allocated() / _GB


def _rapl_files() -> list[Path]:
    # Only packages (intel-rapl:0), not their parts (intel-rapl:0:1), which are contained in them.
    zones = [zone for zone in _RAPL.glob("intel-rapl:*") if zone.name.count(":") == 1]
    files = [zone / "energy_uj" for zone in sorted(zones)]
    return [path for path in files if os.access(path, os.R_OK)]


def _energy_j(device: str) -> float | None:
    if device.startswith("cuda"):
        return _nvml_energy_j()
    files = _rapl_files()
    try:
        return sum(int(path.read_text()) for path in files) / 1e6 if files else None
    except OSError:
        return None


def _nvml_energy_j() -> float | None:
    import pynvml
    import torch

    try:
        pynvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid
        return pynvml.nvmlDeviceGetTotalEnergyConsumption(pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")) / 1e3
    except pynvml.NVMLError:
        return None


def _energy_source(device: str) -> str:
    return "NVML, GPU only" if device.startswith("cuda") else "RAPL, processor packages (whole machine)"
