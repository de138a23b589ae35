"""Finds plug-ins: built-in folders, entry points of installed packages, and files named in `TDBENCH_PLUGINS`.

A plug-in is a concrete subclass of the registry's base class with a `name`, defined in the module that is loaded. A module that
fails to import is kept with its reason and stops nothing; two plug-ins of one name are an error.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from tdbench.bench.canonical import sha256_text
from tdbench.bench.errors import PluginError, UsageError, unknown_name

PLUGINS_VARIABLE = "TDBENCH_PLUGINS"
T = TypeVar("T")
_NAME = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")
_IMPORT_ROOT = re.compile(rb"\btdbench\.(api|bench|methods|tasks|leaderboard)\b")


@dataclass(frozen=True)
class Entry:
    """One plug-in, or the reason why there is none."""

    name: str
    origin: str
    plugin: type | None = None
    error: str | None = None


class Registry(Generic[T]):
    """The plug-ins of one kind, found on first use.

    Args:
        kind: What they are, such as `method`.
        base: Loads the base class (a function, so that the registry itself imports nothing).
        package: Built-in package whose modules are searched.
    """

    def __init__(self, kind: str, base: Callable[[], type[T]], package: str) -> None:
        self.kind = kind
        self._base = base
        self.package = package
        self._entries: dict[str, Entry] | None = None

    def entries(self) -> dict[str, Entry]:
        """Returns all plug-ins by name, broken ones included.

        Raises:
            PluginError: Two plug-ins have the same name.
        """
        if self._entries is None:
            entries: dict[str, Entry] = {}
            for entry in self._discover():
                other = entries.get(entry.name)
                if entry.plugin is None and other is not None:  # a broken file takes nobody's name
                    entries[entry.origin] = entry
                    continue
                if other is not None and other.plugin is None:
                    entries[other.origin] = other
                elif other is not None and other.plugin is not entry.plugin:
                    raise PluginError(
                        f"two plug-ins are called {self.kind} '{entry.name}': {other.origin} and {entry.origin}; "
                        "rename one of them, or remove it from the environment."
                    )
                entries[entry.name] = entry
            self._entries = dict(sorted(entries.items()))
        return self._entries

    def names(self) -> list[str]:
        """Returns the names of the plug-ins that can be used."""
        return [name for name, entry in self.entries().items() if entry.plugin is not None]

    def get(self, name: str) -> type[T]:
        """Returns the plug-in of a name.

        Raises:
            UsageError: No plug-in has that name; the nearest name is in the message.
            PluginError: The plug-in failed to import; the reason is in the message.
        """
        entry = self.entries().get(name)
        if entry is None:
            raise unknown_name(self.kind, name, self.names())
        if entry.plugin is None:
            raise PluginError(f"{self.kind} '{name}' ({entry.origin}) cannot be used: {entry.error}")
        return entry.plugin

    def _discover(self) -> Iterator[Entry]:
        package = importlib.import_module(self.package)
        for info in pkgutil.iter_modules(package.__path__):
            if not info.name.startswith("_"):
                name = f"{self.package}.{info.name}"
                yield from self._from_module(name, info.name, lambda name=name: importlib.import_module(name))
        for point in entry_points(group=f"tdbench.{self.kind}s"):
            origin = f"package {point.dist.name if point.dist else '?'} ({point.value})"
            yield from self._from_entry_point(point.name, origin, point.load)
        for path in plugin_files():
            yield from self._from_module(str(path), path.stem, lambda path=path: load_file(path))

    def _from_module(self, origin: str, stem: str, load: Callable[[], ModuleType]) -> Iterator[Entry]:
        module, error = _attempt(load)
        if module is None:
            yield Entry(stem, origin, error=error)
            return
        for value in vars(module).values():
            if self._is_plugin(value) and value.__module__.startswith(module.__name__):
                yield self._checked(value, origin)

    def _from_entry_point(self, name: str, origin: str, load: Callable[[], Any]) -> Iterator[Entry]:
        value, error = _attempt(load)
        if error is None and not self._is_plugin(value):
            error = f"{value!r} is no {self._base().__name__} subclass with a 'name'; expected a class."
        elif error is None and value.name != name:
            error = f"the entry point is called '{name}' and the plug-in '{value.name}'; give both the same name."
        yield Entry(name, origin, error=error) if error else self._checked(value, origin)

    def _is_plugin(self, value: Any) -> bool:
        return (
            inspect.isclass(value)
            and issubclass(value, self._base())
            and not inspect.isabstract(value)
            and isinstance(getattr(value, "name", None), str)
        )

    def _checked(self, plugin: Any, origin: str) -> Entry:
        problem = plugin_name_problem(plugin.name) or plugin.check_class()
        return Entry(plugin.name, origin, error=problem) if problem else Entry(plugin.name, origin, plugin=plugin)


def plugin_name_problem(name: str) -> str | None:
    """Returns what is wrong with a plug-in's name, or None."""
    return (
        None if _NAME.fullmatch(name) else f"the name '{name}' is not lower-case words joined by '-' or '_'; rename it."
    )


def _attempt(load: Callable[[], Any]) -> tuple[Any, str | None]:
    try:
        return load(), None
    except (Exception, SystemExit) as error:  # a third party's module may raise anything; the listing shows the reason
        return None, f"{type(error).__name__}: {error}"


def plugin_files() -> list[Path]:
    """Returns the files named in `TDBENCH_PLUGINS` (separated like PATH)."""
    value = os.environ.get(PLUGINS_VARIABLE, "")
    return [Path(part).expanduser().resolve() for part in value.split(os.pathsep) if part]


@cache
def load_file(path: Path) -> ModuleType:
    """Imports a plug-in file once under a name of its own.

    Raises:
        FileNotFoundError: The file does not exist.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} named in {PLUGINS_VARIABLE} does not exist")
    name = f"tdbench_plugin_{path.stem}_{sha256_text(str(path))[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _top_name(match: re.Match[bytes]) -> bytes:
    return b"bench.api" if match[1] == b"api" else match[1]


def source_sha256(plugin: type) -> str | None:
    """Returns the sha256 of the file that defines a plug-in, or None where there is none.

    Names of the suite's packages count as they stand at the top of a checkout, so that the hash does not depend on the name under which
    they are imported.
    """
    try:
        return hashlib.sha256(_IMPORT_ROOT.sub(_top_name, Path(inspect.getfile(plugin)).read_bytes())).hexdigest()
    except (OSError, TypeError):
        return None


def _method_base() -> type:
    from tdbench.bench.method import Method

    return Method


def _task_base() -> type:
    from tdbench.bench.data.task import Task

    return Task


def _learner_base() -> type:
    from tdbench.bench.training.learner import Learner

    return Learner


METHODS: Registry[Any] = Registry("method", _method_base, "tdbench.methods")
TASKS: Registry[Any] = Registry("task", _task_base, "tdbench.tasks")
LEARNERS: Registry[Any] = Registry("learner", _learner_base, "tdbench.bench.training.learners")
REGISTRIES = (METHODS, TASKS, LEARNERS)


def find_plugin(name: str, kind: str | None = None) -> tuple[str, type]:
    """Looks a name up among methods, tasks and learners.

    Returns:
        The kind, and the class.

    Raises:
        UsageError: There is no such plug-in, or several kinds have one.
        PluginError: It cannot be loaded.
    """
    registries = [registry for registry in REGISTRIES if kind in (None, registry.kind)]
    if not registries:
        raise unknown_name("kind", str(kind), [registry.kind for registry in REGISTRIES])
    found = [(registry.kind, registry.entries()[name]) for registry in registries if name in registry.entries()]
    if not found:
        raise unknown_name("plug-in", name, {known for registry in registries for known in registry.names()})
    usable = [(found_kind, entry) for found_kind, entry in found if entry.plugin is not None]
    found = usable or found[:1]  # a file that cannot be imported is listed under every kind
    if len(found) > 1:
        raise UsageError(f"'{name}' is a {' and a '.join(kind for kind, _ in found)}; add --kind {found[0][0]}.")
    ((found_kind, entry),) = found
    if entry.plugin is None:
        raise PluginError(f"{found_kind} '{name}' ({entry.origin}) cannot be used: {entry.error}")
    return found_kind, entry.plugin
