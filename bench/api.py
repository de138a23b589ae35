"""The only module that plug-ins import. Names resolve on first use, so importing it is fast."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.budget import Budget, count_tokens
    from bench.context import Context
    from bench.data.standin import StandinSchema
    from bench.data.task import Facts, HubFiles, Task, TaskConfig
    from bench.data.text import LabelledText
    from bench.distilled import DistilledSet
    from bench.errors import DataError, PrerequisiteError, TDBenchError, UsageError
    from bench.method import Method, MethodCard, MethodConfig, Skip
    from bench.training.batches import Encoded
    from bench.training.learner import Learner, LearnerConfig, TrainContext, TrainingSet
    from bench.training.modules import tokenizer_for
    from bench.training.recipe import Recipe
    from bench.training.torch_learner import TorchLearner

__all__ = [
    "Budget",
    "Context",
    "DataError",
    "DistilledSet",
    "Encoded",
    "Facts",
    "HubFiles",
    "LabelledText",
    "Learner",
    "LearnerConfig",
    "Method",
    "MethodCard",
    "MethodConfig",
    "PrerequisiteError",
    "Recipe",
    "Skip",
    "StandinSchema",
    "TDBenchError",
    "Task",
    "TaskConfig",
    "TorchLearner",
    "TrainContext",
    "TrainingSet",
    "UsageError",
    "count_tokens",
    "tokenizer_for",
]

_HOME = {
    "bench.context": ("Context",),
    "bench.data.standin": ("StandinSchema",),
    "bench.data.task": ("Facts", "HubFiles", "Task", "TaskConfig"),
    "bench.data.text": ("LabelledText",),
    "bench.budget": ("Budget", "count_tokens"),
    "bench.distilled": ("DistilledSet",),
    "bench.errors": ("DataError", "PrerequisiteError", "TDBenchError", "UsageError"),
    "bench.method": ("Method", "MethodCard", "MethodConfig", "Skip"),
    "bench.training.batches": ("Encoded",),
    "bench.training.learner": ("Learner", "LearnerConfig", "TrainContext", "TrainingSet"),
    "bench.training.modules": ("tokenizer_for",),
    "bench.training.recipe": ("Recipe",),
    "bench.training.torch_learner": ("TorchLearner",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'bench.api' has no attribute '{name}'")
    return getattr(import_module(_MODULE_OF[name]), name)
