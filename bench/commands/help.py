"""The help of `tdbench run` and `tdbench plan`."""

from __future__ import annotations

from typing import Any

from tdbench.bench.config import GROUPS, default_config, options_of

FLAGS = {
    "-m": "run every combination of comma-separated values",
    "--dry-run": "show the plan only",
    "--cfg": "print the composed configuration",
    "--no-board": "run the stages, build no leaderboard",
    "--json": "print one JSON object",
    "--help": "show this page",
}


def help_page() -> str:
    """Returns the help of `tdbench run`: grammar, groups, and the options of every method and task."""
    lines = [
        "usage: tdbench run [-m] task=NAME [method=NAME] [budget=NAME] [suite=NAME] [protocol=NAME] [key=value ...]",
        "",
        "Without method= or budget= the suite says what runs. Options of a plug-in live under its group: method.k=3.",
        "",
        *(f"  {flag:10} {text}" for flag, text in FLAGS.items()),
        "",
    ]
    for group in GROUPS:
        lines.append(f"{group}: {', '.join(options_of(group)) or 'none'}")
    for group in ("task", "method"):
        for choice in options_of(group):
            options = {k: v for k, v in default_config(group, choice).items() if k != "name"}
            if options:
                lines += [f"options of {group} {choice}:", *(f"  {group}.{k}={_show(v)}" for k, v in options.items())]
    lines += ["", "learners=[NAME, ...]: a list of"]
    from tdbench.bench.training.resolve import learner_names

    lines += [f"  {', '.join(learner_names())}, hf:<id or folder>"]
    lines += ["sets=N seeds=N: distilled sets, and learner seeds for each; default: what the protocol asks for"]
    lines += ["data.kind=auto|local|hub|standin data.root=FOLDER"]
    lines += [f"runtime.{key}={_show(value)}" for key, value in default_config("runtime", "default").items()]
    return "\n".join(lines)


def _show(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
