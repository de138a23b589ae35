"""Where and with what a stage ran."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from functools import cache
from pathlib import Path

from tdbench.bench._paths import IS_CHECKOUT, ROOT
from tdbench.bench._version import __version__
from tdbench.bench.record import Provenance

PACKAGES = ("torch", "transformers", "tokenizers", "scikit-learn", "numpy", "skmatter", "opacus", "datasets", "pyarrow")


def provenance(device: str, **extra: object) -> Provenance:
    """Describes this process; `extra` are further fields of `Provenance`."""
    return Provenance.model_validate({**_fixed(), "device": device, "gpu": _gpu(device), **extra})


def cores() -> int:
    """Returns the number of processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _fixed() -> dict[str, object]:
    commit, dirty = _git()
    return {
        "suite_version": __version__,
        "git_commit": commit,
        "git_dirty": dirty,
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cores": cores(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git() -> tuple[str | None, bool | None]:
    if not IS_CHECKOUT:
        return None, None

    def run(*words: str) -> str | None:
        try:
            done = subprocess.run(  # noqa: S603 - fixed words
                ["git", "-C", str(ROOT), *words],  # noqa: S607
                capture_output=True,
                text=True,
                timeout=10,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = run("rev-parse", "HEAD")
    # Results and generated boards do not change what the code does.
    written = (
        "leaderboard/records",
        "leaderboard/verified",
        "leaderboard/*.json",
        "leaderboard/*.csv",
        "*.md",
        "submission-*",
    )
    changed = run("status", "--porcelain", "--", ".", *(f":!{path}" for path in written))
    return commit, None if changed is None else bool(changed)


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


@cache
def _gpu(device: str) -> str | None:
    if not device.startswith("cuda"):
        return None
    import torch

    return torch.cuda.get_device_name()
