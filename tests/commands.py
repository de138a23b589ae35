"""The command line in the process of the tests: as fast as a call, and each time as if the process were new."""

from __future__ import annotations

import contextlib
import io
import os
import pkgutil
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

import tdbench.bench
from tdbench.bench import _paths, cli, config
from tdbench.bench.config import PLUGIN_GROUPS
from tdbench.bench.data import standin
from tdbench.bench.data.sources import hub_reachable
from tdbench.bench.models.resolve import resolve
from tdbench.bench.registry import PLUGINS_VARIABLE, REGISTRIES, load_file
from tdbench.bench.training.modules import tokenizer_for, word_vectors

PLACES = ("RECORDS", "VERIFIED")
GENERATE, COMPOSE = standin.generate, config._hydra


def few_records(folder: Path) -> Path:
    """Copies the accepted results of two methods on one task: of all of them, a leaderboard takes ten seconds."""
    for name in ("random", "herding"):
        pack = Path("lite-v1", "spam", f"{name}.json")
        (folder / pack).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_paths.RECORDS / pack, folder / pack)
    return folder


def call(
    words: tuple[str, ...], cwd: Path, environment: dict[str, str], records: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs `tdbench WORDS...` in this process, with nothing left from before and nothing left behind.

    Args:
        words: What follows `tdbench`.
        cwd: Working folder.
        environment: All environment variables.
        records: Takes the place of the accepted results.

    Returns:
        Exit code, standard output and standard error, as of a process.
    """
    out, err, code = io.StringIO(), io.StringIO(), 0
    with _as_if_new(cwd, environment, records), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        sys.argv = ["tdbench", *words]
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except Exception:
            traceback.print_exc()
            code = 1
    return subprocess.CompletedProcess(["tdbench", *words], code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _as_if_new(cwd: Path, environment: dict[str, str], records: Path | None) -> Iterator[None]:
    path = list(sys.path)
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - environment.keys():
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.chdir(cwd)
        patch.setattr(sys, "argv", [])
        patch.setattr(standin, "generate", _generated)
        if PLUGINS_VARIABLE not in environment:
            patch.setattr(config, "_hydra", lambda overrides: _composed(tuple(overrides)).copy())
        if records is not None:
            _redirect(patch, records)
        forget()
        try:
            yield
        finally:
            forget()
            sys.path[:] = path


@cache
def _frame(schema: standin.StandinSchema, split: str, n_rows: int, seed: int) -> pd.DataFrame:
    return GENERATE(schema, split, n_rows, seed)


def _generated(schema: standin.StandinSchema, split: str, n_rows: int, seed: int) -> pd.DataFrame:
    """Generates a stand-in once: whoever changes its rows changes a copy."""
    return _frame(schema, split, n_rows, seed).copy()


@cache
def _composed(overrides: tuple[str, ...]) -> DictConfig:
    """Composes once what is said again and again; plug-ins of a test are not in it."""
    return COMPOSE(list(overrides))


def forget() -> None:
    """Drops what a process finds out once: plug-ins, models, whether the Hub is there."""
    for registry in REGISTRIES:
        registry._entries = None
    for group in PLUGIN_GROUPS:
        ConfigStore.instance().repo.pop(group, None)
    load_file.cache_clear()
    for of_a_name in (resolve, tokenizer_for, word_vectors):
        of_a_name.cache_clear()
    hub_reachable.cache_clear()
    for name in [name for name in sys.modules if name.startswith("tdbench_plugin_")]:
        del sys.modules[name]


def _redirect(patch: pytest.MonkeyPatch, records: Path) -> None:
    for module in pkgutil.walk_packages(tdbench.bench.__path__, "tdbench.bench."):
        if ".commands." in module.name:  # a module that is imported later would keep what it finds now
            import_module(module.name)
    here = {name: getattr(_paths, name) for name in PLACES}
    for module in [module for name, module in sys.modules.items() if name.startswith("tdbench.")]:
        for name, place in here.items():
            if vars(module).get(name) == place:
                patch.setattr(module, name, records if name == "RECORDS" else records / "none")
