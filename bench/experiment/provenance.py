"""Where and with what a stage ran."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tdbench.bench._paths import IS_CHECKOUT, ROOT
from tdbench.bench._version import __version__
from tdbench.bench.errors import UsageError
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


_LOG = logging.getLogger(__name__)


def choose_device(wanted: str) -> str:
    """Returns `cpu`, `cuda` or `cuda:<number>`.

    Raises:
        UsageError: A GPU was asked for and there is none.
    """
    has_driver = any(Path(path).exists() for path in ("/dev/nvidiactl", "/dev/dxg"))
    if wanted == "cpu" or (wanted == "auto" and not has_driver):
        return "cpu"
    import torch

    number = int(wanted.partition(":")[2] or 0)
    if torch.cuda.is_available() and number < torch.cuda.device_count():
        if number:
            torch.cuda.set_device(number)
        return wanted if ":" in wanted else "cuda"
    if wanted != "auto":
        raise UsageError(f"runtime.device={wanted}, but torch finds no such GPU; use runtime.device=cpu.")
    return "cpu"


def other_devices(wanted: str) -> list[str]:
    """Returns the GPUs that join the first one: all others for `cuda`, none for anything else."""
    if wanted != "cuda" or choose_device(wanted) == "cpu":
        return []
    import torch

    return [f"cuda:{number}" for number in range(1, torch.cuda.device_count())]


@contextmanager
def joined_by(devices: list[str], words: list[str], root: Path) -> Iterator[None]:
    """Lets one process a device work on the same command and run folder meanwhile; locks share the stages out.

    A process that fails is reported and costs only time: what it leaves undone is done by the others.

    Args:
        devices: What the processes use, one each.
        words: The words of `tdbench run`.
        root: Run folder; each process writes `logs/<number>-<device>.log` there.
    """
    processes: list[tuple[str, Path, subprocess.Popen[bytes]]] = []
    threads = str(max(1, (os.cpu_count() or 1) // (len(devices) + 1)))
    try:
        for number, device in enumerate(devices):
            log = root / "logs" / f"{number}-{device.replace(':', '-')}.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, "-m", "tdbench", "run", *words, "--no-board", f"runtime.device={device}"]
            with log.open("w") as stream:
                environment = {"OMP_NUM_THREADS": threads, **os.environ}
                process = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment)  # noqa: S603 - our own
            _LOG.warning("%s works along; its output is in %s", device, log)
            processes.append((device, log, process))
        yield
        for device, log, process in processes:
            if process.wait() not in (0, 1):  # 1: some stage failed, which its record says
                _LOG.warning("the process on %s ended with code %d; see %s", device, process.returncode, log)
    finally:
        for _, _, process in processes:
            if process.poll() is None:
                process.terminate()
                process.wait()
