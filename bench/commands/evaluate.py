"""`tdbench evaluate`: scores a distilled set that was made anywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tdbench.bench.budget import Budget, count_tokens
from tdbench.bench.commands.run import Arguments, parse, perform
from tdbench.bench.config import settings_for
from tdbench.bench.data.set_files import read_set
from tdbench.bench.errors import UsageError
from tdbench.bench.experiment.external import External
from tdbench.bench.registry import TASKS, plugin_name_problem


def evaluate_command(file: Path, task: str, name: str | None, budget: str | None, words: list[str]) -> int:
    """Reads and checks a file, trains and tests the protocol's learners on it, and shows it among the references.

    Args:
        file: The distilled set.
        task: Name of the task it is for.
        name: Name in tables; default the file's stem.
        budget: Budget it must fit; default the number of texts of its largest class.
        words: More overrides, such as `learners=[minilm]` or `task.variant=enron`, and the flags --json and --no-board.

    Returns:
        The exit code.
    """
    label = name or file.stem
    problem = plugin_name_problem(label)
    if problem:
        raise UsageError(f"{problem} Give another with --name.")
    arguments = parse(words)
    _check_words(arguments)
    group = budget or "dpc10"
    (settings,) = settings_for(
        [f"task={task}", "method=random", f"budget={group}", *_with_protocol(arguments.overrides)]
    )
    plugin = TASKS.get(settings.task_name)
    distilled, ignored = read_set(file, plugin(plugin.Config(**settings.task_options)))
    if budget is not None:
        limits = Budget(settings.budget.name, **settings.budget.model_dump())
        texts = ["\n".join(parts) for parts in zip(*(distilled.fields or {}).values(), strict=True)]
        distilled.check_size(limits, [count_tokens(text) for text in texts], plugin.label_names)
    else:
        largest = int(np.bincount(distilled.labels_M).max())
        limits = settings.budget.model_copy(update={"per_class": largest, "tokens_per_class": None})
        settings = settings.model_copy(update={"budget": limits})
    if ignored and not arguments.json:
        print(f"columns left out: {', '.join(map(ascii, ignored))}")  # noqa: T201
    settings = settings.model_copy(update={"method_name": External.name, "method_label": label})
    return perform([settings], arguments, External(distilled, label))


def _check_words(arguments: Arguments) -> None:
    """Refuses what would change what is scored, or would be ignored.

    Raises:
        UsageError: Names the word and what to give instead.
    """
    flags = [word for word in arguments.words if word.startswith("-") and word not in ("--json", "--no-board")]
    if flags:
        raise UsageError(f"tdbench evaluate has no flag {flags[0]}; `tdbench evaluate --help` lists its options.")
    instead = {"task": "--task", "budget": "--budget", "method": "nothing", "suite": "protocol="}
    for word in arguments.overrides:
        group = word.lstrip("+~").partition("=")[0]
        if group in instead or group.startswith(("method.", "budget.")):
            raise UsageError(
                f"'{word}' is no option of tdbench evaluate; give {instead.get(group, 'nothing')} instead."
            )


def _with_protocol(overrides: list[str]) -> list[str]:
    """Adds the protocol of the committed leaderboard, so that its references stand in the same table."""
    named = any(word.startswith("protocol=") for word in overrides)
    return overrides if named else ["protocol=lite-v1", *overrides]
