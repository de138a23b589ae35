"""What can be told from a plug-in's source: imports, and options that survive a round trip."""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path
from typing import Any

from tdbench.bench.testing.report import Report

_PROJECT = "tdbench"
_HEAVY = (
    *("torch", "transformers", "datasets", "sklearn", "opacus", "evaluate", "matplotlib", "scipy"),
    *("tdbench.api.matching", "tdbench.api.training"),
)
_UNSAFE = ("pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal")


def check_source(report: Report, plugin: Any) -> None:
    """Checks the imports of the file that defines a plug-in."""
    try:
        path = Path(inspect.getfile(plugin))
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, TypeError, SyntaxError) as error:
        report.notes.append(f"its source cannot be read ({error}); imports were not checked")
        return
    anywhere, at_top = _imports(tree, ast.walk(tree)), _imports(tree, tree.body)
    # The learners of the harness are part of it; every other plug-in sees the API alone.
    inside = plugin.__module__.startswith("tdbench.bench.")
    own = plugin.__module__.rpartition(".")[0]
    foreign = [
        m
        for m in anywhere
        if m.split(".")[0] == _PROJECT and m.split(".")[:2] != [_PROJECT, "api"] and not (own and m.startswith(own))
    ]
    report.check(
        inside or not foreign,
        "it imports tdbench.api and nothing else of the project",
        f"{path.name} imports {', '.join(sorted(foreign))}; take what you need from tdbench.api.",
    )
    heavy = sorted({m if m.startswith(f"{_PROJECT}.") else m.split(".")[0] for m in at_top} & set(_HEAVY))
    report.check(
        not heavy,
        "its module is fast to import",
        f"{path.name} imports {', '.join(heavy)} at the top; import inside the functions that use it, so that listings stay fast.",
    )
    unsafe = sorted({m.split(".")[0] for m in anywhere} & set(_UNSAFE)) + _unpickling(tree)
    report.check(
        not unsafe,
        "it uses no pickles",
        f"{path.name} uses {', '.join(unsafe)}; a pickle runs code when it is read: use JSON, parquet or safetensors.",
    )


def _imports(tree: ast.Module, nodes: Any) -> set[str]:
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and getattr(block.test, "id", getattr(block.test, "attr", "")) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    names: set[str] = set()
    for node in nodes:
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            module = node.module or ""
            names |= {f"{module}.{alias.name}" if module == _PROJECT else module for alias in node.names}
    return names


def _unpickling(tree: ast.Module) -> list[str]:
    """Names calls that read pickles: joblib.load, torch.load without weights_only, numpy with allow_pickle."""
    calls = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if name == "joblib.load" or (name == "torch.load" and given.get("weights_only") == "False"):
            calls.append(name)
        if given.get("allow_pickle") == "True":
            calls.append(f"{name}(allow_pickle=True)")
    return calls


def check_options(report: Report, plugin: Any, config: Any) -> Any:
    """Checks that the options survive being written as JSON.

    Returns:
        The options to check the plug-in with, or None where some have no default and none were given.
    """
    if config is not None:
        return config
    required = [name for name, field in plugin.Config.model_fields.items() if field.is_required()]
    if required:
        report.notes.append(f"options without a default ({', '.join(required)}): a preset must name them")
        return None
    with report.step(
        "its options have valid defaults and survive JSON", "Options are plain values: numbers, text, lists."
    ):
        default = plugin.Config()
        again = plugin.Config(**json.loads(json.dumps(default.model_dump(mode="json"))))
        if again != default:
            raise ValueError(f"{default!r} comes back as {again!r};")
        frozen = plugin.Config.model_config.get("frozen")
        if not frozen or plugin.Config.model_config.get("extra") != "forbid":
            raise ValueError("Config accepts changes or unknown options; subclass the Config of its base class;")
        return default
    return None
