"""Progress of a run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PLAIN_INTERVAL_S = 15.0


class Reporter:
    """Receives what happens in a run and says nothing; for `--json` and tests. Of expected durations only proportions matter."""

    def start(self, expected: list[float]) -> None:
        """Begins a run of stages with these expected durations."""

    def stage(self, title: str) -> None:
        """Begins the next stage."""

    def tick(self, fraction: float) -> None:
        """Reports the finished fraction of the open stage."""

    def done(self, outcome: str) -> None:
        """Ends the open stage; `outcome` is a short summary such as `accuracy 83.1 %`."""

    def close(self) -> None:
        """Ends the run."""


class Clock:
    """Predicts the remaining time from what finished stages took against what was expected."""

    def __init__(self, expected: list[float]) -> None:
        self._left = list(expected)
        self._total = sum(expected)
        self._finished = 0.0
        self._fraction = 0.0
        self._began = time.monotonic()

    def tick(self, fraction: float) -> None:
        """Sets the finished fraction of the open stage."""
        self._fraction = min(max(fraction, 0.0), 1.0)

    def finish(self) -> None:
        """Books the open stage as finished."""
        if self._left:
            self._finished += self._left.pop(0)
        self._fraction = 0.0

    @property
    def share(self) -> float:
        """Finished share of the expected total, 0 to 1."""
        current = self._left[0] * self._fraction if self._left else 0.0
        return (self._finished + current) / self._total if self._total else 1.0

    def eta_s(self) -> float | None:
        """Remaining seconds, or None while nothing is known."""
        share = self.share
        return (time.monotonic() - self._began) * (1 - share) / share if share > 0.005 else None


def duration(seconds: float) -> str:
    """Formats seconds as 8.1 s, 2:05 or 1:02:05."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


class PlainReporter(Reporter):
    """One line a stage, and one every 15 s inside long stages; for logs and pipes."""

    def start(self, expected: list[float]) -> None:
        """Begins a run."""
        self._n, self._i, self._clock = len(expected), 0, Clock(expected)

    def stage(self, title: str) -> None:
        """Begins the next stage."""
        self._i += 1
        self._title = title
        self._began = self._spoke = time.monotonic()

    def tick(self, fraction: float) -> None:
        """Speaks when a stage has been silent for long."""
        self._clock.tick(fraction)
        if time.monotonic() - self._spoke > PLAIN_INTERVAL_S:
            self._spoke = time.monotonic()
            self._say(f"{fraction:.0%}")

    def done(self, outcome: str) -> None:
        """Prints the stage's line."""
        self._clock.finish()
        self._say(f"{outcome} in {duration(time.monotonic() - self._began)}")

    def _say(self, text: str) -> None:
        eta = self._clock.eta_s()
        left = f"   ETA {duration(eta)}" if eta is not None and self._i < self._n else ""
        print(f"[{self._i:>{len(str(self._n))}}/{self._n}] {self._title}: {text}{left}", file=sys.stderr, flush=True)  # noqa: T201


class BarReporter(Reporter):
    """A live bar with an ETA, and one line a finished stage."""

    def start(self, expected: list[float]) -> None:
        """Begins a run."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._clock, self._n, self._i = Clock(expected), len(expected), 0
        self._progress: Progress = Progress(
            TextColumn("{task.fields[place]}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("ETA {task.fields[eta]}"),
            TextColumn("{task.description}", markup=False),
            transient=True,
        )
        self._task: TaskID = self._progress.add_task("", total=1.0, place="", eta="–")
        self._progress.start()

    def stage(self, title: str) -> None:
        """Begins the next stage."""
        self._i += 1
        self._title, self._began = title, time.monotonic()
        self._show()

    def tick(self, fraction: float) -> None:
        """Moves the bar."""
        self._clock.tick(fraction)
        self._show()

    def done(self, outcome: str) -> None:
        """Prints the stage's line above the bar."""
        self._clock.finish()
        took = duration(time.monotonic() - self._began)
        self._progress.console.print(f"  {self._title}: {outcome} in {took}", markup=False, highlight=False)
        self._show()

    def close(self) -> None:
        """Removes the bar."""
        self._progress.stop()

    def _show(self) -> None:
        eta = self._clock.eta_s()
        self._progress.update(
            self._task,
            completed=self._clock.share,
            description=self._title,
            place=f"{self._i}/{self._n}",
            eta="–" if eta is None else duration(eta),
        )


def reporter(silent: bool = False) -> Reporter:
    """Chooses how to report: silent, a bar on a terminal, or plain lines."""
    if silent:
        return Reporter()
    return BarReporter() if sys.stderr.isatty() and sys.stdout.isatty() else PlainReporter()
