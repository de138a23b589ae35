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
    from bench.matching.gradients import (
        HeadGradients,
        Heads,
        distances,
        every_distance,
        head_gradients,
        random_texts,
    )
    from bench.matching.options import SynthesisConfig
    from bench.matching.points import Groups, cluster, train_head, trained_heads
    from bench.matching.source import SourceModel
    from bench.matching.start import random_words, text_of, vectors_of, words_of
    from bench.matching.synthesis import Objective, Stage, few, make_stage, synthesise
    from bench.method import Method, MethodCard, MethodConfig, Skip
    from bench.models.task_lm import TaskLM
    from bench.soft import SoftInputs
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
    "Groups",
    "HeadGradients",
    "Heads",
    "HubFiles",
    "LabelledText",
    "Learner",
    "LearnerConfig",
    "Method",
    "MethodCard",
    "MethodConfig",
    "Objective",
    "PrerequisiteError",
    "Recipe",
    "Skip",
    "SoftInputs",
    "SourceModel",
    "Stage",
    "StandinSchema",
    "SynthesisConfig",
    "TDBenchError",
    "Task",
    "TaskConfig",
    "TaskLM",
    "TorchLearner",
    "TrainContext",
    "TrainingSet",
    "UsageError",
    "cluster",
    "count_tokens",
    "distances",
    "every_distance",
    "few",
    "head_gradients",
    "make_stage",
    "random_texts",
    "random_words",
    "synthesise",
    "text_of",
    "tokenizer_for",
    "train_head",
    "trained_heads",
    "vectors_of",
    "words_of",
]

_HOME = {
    "bench.context": ("Context",),
    "bench.data.standin": ("StandinSchema",),
    "bench.data.task": ("Facts", "HubFiles", "Task", "TaskConfig"),
    "bench.data.text": ("LabelledText",),
    "bench.budget": ("Budget", "count_tokens"),
    "bench.distilled": ("DistilledSet",),
    "bench.errors": ("DataError", "PrerequisiteError", "TDBenchError", "UsageError"),
    "bench.matching.gradients": (
        "HeadGradients",
        "Heads",
        "distances",
        "every_distance",
        "head_gradients",
        "random_texts",
    ),
    "bench.matching.options": ("SynthesisConfig",),
    "bench.matching.points": ("Groups", "cluster", "train_head", "trained_heads"),
    "bench.matching.source": ("SourceModel",),
    "bench.matching.start": ("random_words", "text_of", "vectors_of", "words_of"),
    "bench.matching.synthesis": ("Objective", "Stage", "few", "make_stage", "synthesise"),
    "bench.models.task_lm": ("TaskLM",),
    "bench.soft": ("SoftInputs",),
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
