"""The only module that plug-ins import. Names resolve on first use, so importing it is fast."""

# ruff: noqa: F401 - the imports below are what type checkers and editors see

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tdbench.bench.budget import Budget, count_tokens
    from tdbench.bench.canonical import content_id, sha256_file
    from tdbench.bench.card import Estimate, MethodCard, MethodConfig, Skip
    from tdbench.bench.context import Context
    from tdbench.bench.cost import CostMeter
    from tdbench.bench.data.set_files import Schema, read_set
    from tdbench.bench.data.standin import StandinSchema
    from tdbench.bench.data.task import Facts, HubFiles, Task, TaskConfig
    from tdbench.bench.data.text import LabelledText, normalised
    from tdbench.bench.distilled import DistilledSet, Schedule, SoftInputs
    from tdbench.bench.errors import DataError, PrerequisiteError, TDBenchError, UsageError
    from tdbench.bench.kept import kept
    from tdbench.bench.matching.admm import AdmmOptions
    from tdbench.bench.matching.alignment import choose_aligned, median_distance
    from tdbench.bench.matching.experts import ExpertBuffer, head_expert, whole_expert
    from tdbench.bench.matching.fit import Reading, fit_vectors
    from tdbench.bench.matching.gradients import (
        Head,
        HeadGradients,
        Heads,
        distances,
        every_distance,
        gradient_distances,
        head_gradients,
        random_texts,
    )
    from tdbench.bench.matching.lesson_options import ExpertsConfig, LessonConfig
    from tdbench.bench.matching.lessons import LearnedLesson, NewHeads, as_text
    from tdbench.bench.matching.options import EncodersConfig, SynthesisConfig
    from tdbench.bench.matching.outer import RealLoss
    from tdbench.bench.matching.parameters import WeightGradients, between
    from tdbench.bench.matching.points import Groups, cluster, halves, head_path, train_head, trained_heads
    from tdbench.bench.matching.samples import Writer, first_of_classes, medoids_of, sample_medoids
    from tdbench.bench.matching.several import over_encoders, varied
    from tdbench.bench.matching.source import SourceModel
    from tdbench.bench.matching.stage import Objective, Stage, few, make_stage
    from tdbench.bench.matching.start import mean_vectors, random_words, text_of, vectors_of, words_of
    from tdbench.bench.matching.synthesis import synthesise
    from tdbench.bench.matching.unroll import Back, Unrolled, unroll, unroll_head
    from tdbench.bench.method import Method
    from tdbench.bench.models.class_lm import RowLM
    from tdbench.bench.models.llm.client import Sampling
    from tdbench.bench.models.llm.generate import AskedVariations
    from tdbench.bench.models.llm.method import LLMConfig, LLMMethod, NamesModels, Questions, Session, llm_card
    from tdbench.bench.models.llm.parsing import read_object, read_texts
    from tdbench.bench.models.llm.prompts import (
        Brief,
        TaskWords,
        ask_for_better,
        ask_for_class,
        ask_for_concepts,
        ask_for_features,
        ask_for_texts,
        ask_for_values,
        keywords,
    )
    from tdbench.bench.models.prompted import label_tokens
    from tdbench.bench.models.public_rows import PublicRows, public_rows
    from tdbench.bench.models.row_generator import RowGenerator
    from tdbench.bench.models.task_lm import TaskLM, Vocabulary
    from tdbench.bench.models.variations import Continuations, MaskedEdits, PublicContinuations, Varies
    from tdbench.bench.privacy.accounting import Mechanism
    from tdbench.bench.privacy.oracle import Planned, PrivateOracle
    from tdbench.bench.privacy.private_method import PrivateConfig, PrivateMethod
    from tdbench.bench.privacy.trained import TrainedConfig, TrainedMethod, TrainingConfig, train_privately
    from tdbench.bench.privacy.training import Batch, RowModel, TrainingOptions, train_rows
    from tdbench.bench.selection import kmeans_rows
    from tdbench.bench.training.batches import Encoded
    from tdbench.bench.training.inner import InnerModel, Lesson
    from tdbench.bench.training.learner import Learner, LearnerConfig
    from tdbench.bench.training.modules import tokenizer_for
    from tdbench.bench.training.recipe import Recipe
    from tdbench.bench.training.torch_learner import TorchLearner
    from tdbench.bench.training.training_set import TrainContext, TrainingSet

_HOME = {
    "tdbench.bench.privacy.accounting": ("Mechanism",),
    "tdbench.bench.kept": ("kept",),
    "tdbench.bench.cost": ("CostMeter",),
    "tdbench.bench.models.llm.client": ("Sampling",),
    "tdbench.bench.models.llm.method": (
        "LLMConfig",
        "LLMMethod",
        "NamesModels",
        "Questions",
        "Session",
        "llm_card",
    ),
    "tdbench.bench.models.llm.generate": ("AskedVariations",),
    "tdbench.bench.models.llm.prompts": (
        "Brief",
        "TaskWords",
        "ask_for_better",
        "ask_for_class",
        "ask_for_concepts",
        "ask_for_features",
        "ask_for_texts",
        "ask_for_values",
        "keywords",
    ),
    "tdbench.bench.models.llm.parsing": (
        "read_object",
        "read_texts",
    ),
    "tdbench.bench.matching.alignment": ("choose_aligned", "median_distance"),
    "tdbench.bench.data.set_files": ("Schema", "read_set"),
    "tdbench.bench.canonical": (
        "content_id",
        "sha256_file",
    ),
    "tdbench.bench.context": ("Context",),
    "tdbench.bench.data.standin": ("StandinSchema",),
    "tdbench.bench.data.task": ("Facts", "HubFiles", "Task", "TaskConfig"),
    "tdbench.bench.data.text": ("LabelledText", "normalised"),
    "tdbench.bench.card": ("Estimate", "MethodCard", "MethodConfig", "Skip"),
    "tdbench.bench.budget": ("Budget", "count_tokens"),
    "tdbench.bench.distilled": ("DistilledSet", "Schedule", "SoftInputs"),
    "tdbench.bench.errors": ("DataError", "PrerequisiteError", "TDBenchError", "UsageError"),
    "tdbench.bench.matching.admm": ("AdmmOptions",),
    "tdbench.bench.matching.experts": ("ExpertBuffer", "head_expert", "whole_expert"),
    "tdbench.bench.matching.fit": ("Reading", "fit_vectors"),
    "tdbench.bench.matching.gradients": (
        "Head",
        "HeadGradients",
        "Heads",
        "distances",
        "every_distance",
        "gradient_distances",
        "head_gradients",
        "random_texts",
    ),
    "tdbench.bench.matching.lesson_options": ("ExpertsConfig", "LessonConfig"),
    "tdbench.bench.matching.lessons": ("LearnedLesson", "NewHeads", "as_text"),
    "tdbench.bench.matching.options": ("EncodersConfig", "SynthesisConfig"),
    "tdbench.bench.matching.outer": ("RealLoss",),
    "tdbench.bench.matching.parameters": ("WeightGradients", "between"),
    "tdbench.bench.matching.points": ("Groups", "cluster", "halves", "head_path", "train_head", "trained_heads"),
    "tdbench.bench.matching.several": ("over_encoders", "varied"),
    "tdbench.bench.matching.source": ("SourceModel",),
    "tdbench.bench.matching.stage": ("Objective", "Stage", "few", "make_stage"),
    "tdbench.bench.matching.start": ("mean_vectors", "random_words", "text_of", "vectors_of", "words_of"),
    "tdbench.bench.matching.samples": ("Writer", "first_of_classes", "medoids_of", "sample_medoids"),
    "tdbench.bench.matching.synthesis": ("synthesise",),
    "tdbench.bench.matching.unroll": ("Back", "Unrolled", "unroll", "unroll_head"),
    "tdbench.bench.models.class_lm": ("RowLM",),
    "tdbench.bench.models.public_rows": ("PublicRows", "public_rows"),
    "tdbench.bench.models.row_generator": ("RowGenerator",),
    "tdbench.bench.models.variations": ("Continuations", "MaskedEdits", "PublicContinuations", "Varies"),
    "tdbench.bench.models.prompted": ("label_tokens",),
    "tdbench.bench.models.task_lm": (
        "Vocabulary",
        "TaskLM",
    ),
    "tdbench.bench.privacy.oracle": ("Planned", "PrivateOracle"),
    "tdbench.bench.privacy.private_method": ("PrivateConfig", "PrivateMethod"),
    "tdbench.bench.privacy.trained": ("TrainedConfig", "TrainedMethod", "TrainingConfig", "train_privately"),
    "tdbench.bench.privacy.training": ("train_rows", "Batch", "RowModel", "TrainingOptions"),
    "tdbench.bench.selection": ("kmeans_rows",),
    "tdbench.bench.method": ("Method",),
    "tdbench.bench.training.batches": ("Encoded",),
    "tdbench.bench.training.inner": ("InnerModel", "Lesson"),
    "tdbench.bench.training.learner": ("Learner", "LearnerConfig"),
    "tdbench.bench.training.training_set": ("TrainContext", "TrainingSet"),
    "tdbench.bench.training.modules": ("tokenizer_for",),
    "tdbench.bench.training.recipe": ("Recipe",),
    "tdbench.bench.training.torch_learner": ("TorchLearner",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
__all__ = [*sorted(_MODULE_OF)]  # noqa: PLE0604 # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'tdbench.api' has no attribute '{name}'")
    return getattr(import_module(_MODULE_OF[name]), name)
