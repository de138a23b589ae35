"""Which device a run uses, and how several GPUs share one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import UsageError


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
    """Returns the GPUs that join the first one; none where a single device was named or there is only one."""
    if wanted not in ("auto", "cuda") or choose_device(wanted) == "cpu":
        return []
    import torch

    return [f"cuda:{number}" for number in range(1, torch.cuda.device_count())]


@contextmanager
def joined_by(devices: list[str], words: list[str], root: Path) -> Iterator[None]:
    """Lets one process a device work on the same command and run folder meanwhile; locks share the stages out.

    Args:
        devices: What the processes use, one each.
        words: The words of `tdbench run`.
        root: Run folder; each process writes `logs/<device>.log` there.
    """
    processes = []
    for device in devices:
        log = root / "logs" / f"{device.replace(':', '-')}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "bench", "run", *words, "--no-board", f"runtime.device={device}"]
        with log.open("w") as stream:
            processes.append(subprocess.Popen(command, stdout=stream, stderr=stream))  # noqa: S603 - our own command
    try:
        yield
        for process in processes:
            process.wait()
    finally:
        for process in processes:
            process.terminate()
