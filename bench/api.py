"""The only module that plug-ins import. Names resolve on first use, so importing it is fast."""

# ruff: noqa: F401 - the imports below are what type checkers and editors see

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.budget import Budget, count_tokens
    from bench.canonical import sha256_file
    from bench.context import Context
    from bench.data.set_files import Schema, read_set
    from bench.data.standin import StandinSchema
    from bench.data.task import Facts, HubFiles, Task, TaskConfig
    from bench.data.text import LabelledText, normalised
    from bench.diffusion.alphabet import Alphabet
    from bench.diffusion.gaussian import GaussianDiffusion
    from bench.diffusion.generator import Diffusion
    from bench.diffusion.masked import MaskedDiffusion
    from bench.diffusion.method import DiffusionConfig, DiffusionMethod, GaussianConfig, diffusion_card
    from bench.diffusion.network import DenoiserShape
    from bench.distilled import DistilledSet
    from bench.errors import DataError, PrerequisiteError, TDBenchError, UsageError
    from bench.matching.admm import AdmmOptions
    from bench.matching.alignment import choose_aligned
    from bench.matching.experts import ExpertBuffer, head_expert, whole_expert
    from bench.matching.exploration import Explorer, length_scale
    from bench.matching.fit import Reading, fit_vectors
    from bench.matching.gradients import (
        Head,
        HeadGradients,
        Heads,
        distances,
        every_distance,
        gradient_distances,
        head_gradients,
        random_texts,
    )
    from bench.matching.lesson_options import ExpertsConfig, LessonConfig
    from bench.matching.lessons import LearnedLesson, NewHeads, as_text
    from bench.matching.options import EncodersConfig, SynthesisConfig
    from bench.matching.outer import RealLoss
    from bench.matching.parameters import WeightGradients, between
    from bench.matching.points import Groups, cluster, halves, head_path, train_head, trained_heads
    from bench.matching.regression import Exchange, RealMoments, centred, torch_error
    from bench.matching.samples import Writer, first_of_classes, medoids_of, sample_medoids
    from bench.matching.several import over_encoders, varied
    from bench.matching.source import SourceModel
    from bench.matching.stage import Objective, Stage, few, make_stage
    from bench.matching.start import mean_vectors, random_words, text_of, vectors_of, words_of
    from bench.matching.synthesis import synthesise
    from bench.matching.unroll import Back, Unrolled, unroll, unroll_head
    from bench.method import Method, MethodCard, MethodConfig, Skip
    from bench.models.class_lm import RowLM
    from bench.models.llm.asks import Sampling
    from bench.models.llm.concepts import keywords
    from bench.models.llm.graph import ConceptGraph, Concepts, canonical_concepts
    from bench.models.llm.method import Estimate, LLMConfig, LLMMethod, NamesModels, Questions, Session, llm_card
    from bench.models.llm.parsing import read_object, read_texts
    from bench.models.llm.variations import AskedVariations
    from bench.models.llm.wording import (
        Brief,
        TaskWords,
        ask_for_better,
        ask_for_class,
        ask_for_concepts,
        ask_for_features,
        ask_for_texts,
        ask_for_values,
    )
    from bench.models.prompted import label_tokens
    from bench.models.public_rows import PublicRows, public_rows
    from bench.models.row_generator import RowGenerator
    from bench.models.task_lm import TaskLM
    from bench.models.variations import Continuations, MaskedEdits, PublicContinuations, Varies
    from bench.privacy.ledger import Planned
    from bench.privacy.oracle import PrivateOracle
    from bench.privacy.private_method import PrivateConfig, PrivateMethod
    from bench.privacy.trained import TrainedConfig, TrainedMethod, TrainingConfig, train_privately
    from bench.privacy.training import RowModel, TrainingOptions
    from bench.selection import kmeans_rows
    from bench.soft import Schedule, SoftInputs
    from bench.training.batches import Encoded
    from bench.training.inner import InnerModel, Lesson
    from bench.training.learner import Learner, LearnerConfig, TrainContext, TrainingSet
    from bench.training.modules import tokenizer_for
    from bench.training.recipe import Recipe
    from bench.training.torch_learner import TorchLearner

_HOME = {
    "bench.models.llm.asks": ("Sampling",),
    "bench.models.llm.method": (
        "Estimate",
        "LLMConfig",
        "LLMMethod",
        "NamesModels",
        "Questions",
        "Session",
        "llm_card",
    ),
    "bench.models.llm.variations": ("AskedVariations",),
    "bench.models.llm.wording": (
        "Brief",
        "TaskWords",
        "ask_for_better",
        "ask_for_class",
        "ask_for_concepts",
        "ask_for_features",
        "ask_for_texts",
        "ask_for_values",
    ),
    "bench.models.llm.graph": (
        "ConceptGraph",
        "Concepts",
        "canonical_concepts",
    ),
    "bench.models.llm.concepts": ("keywords",),
    "bench.models.llm.parsing": (
        "read_object",
        "read_texts",
    ),
    "bench.matching.exploration": (
        "Explorer",
        "length_scale",
    ),
    "bench.matching.alignment": ("choose_aligned",),
    "bench.data.set_files": ("Schema", "read_set"),
    "bench.canonical": ("sha256_file",),
    "bench.context": ("Context",),
    "bench.data.standin": ("StandinSchema",),
    "bench.data.task": ("Facts", "HubFiles", "Task", "TaskConfig"),
    "bench.data.text": ("LabelledText", "normalised"),
    "bench.budget": ("Budget", "count_tokens"),
    "bench.diffusion.alphabet": ("Alphabet",),
    "bench.diffusion.gaussian": ("GaussianDiffusion",),
    "bench.diffusion.generator": ("Diffusion",),
    "bench.diffusion.network": ("DenoiserShape",),
    "bench.diffusion.masked": ("MaskedDiffusion",),
    "bench.diffusion.method": ("DiffusionConfig", "DiffusionMethod", "GaussianConfig", "diffusion_card"),
    "bench.distilled": ("DistilledSet",),
    "bench.errors": ("DataError", "PrerequisiteError", "TDBenchError", "UsageError"),
    "bench.matching.admm": ("AdmmOptions",),
    "bench.matching.experts": ("ExpertBuffer", "head_expert", "whole_expert"),
    "bench.matching.fit": ("Reading", "fit_vectors"),
    "bench.matching.gradients": (
        "Head",
        "HeadGradients",
        "Heads",
        "distances",
        "every_distance",
        "gradient_distances",
        "head_gradients",
        "random_texts",
    ),
    "bench.matching.lesson_options": ("ExpertsConfig", "LessonConfig"),
    "bench.matching.lessons": ("LearnedLesson", "NewHeads", "as_text"),
    "bench.matching.options": ("EncodersConfig", "SynthesisConfig"),
    "bench.matching.outer": ("RealLoss",),
    "bench.matching.parameters": ("WeightGradients", "between"),
    "bench.matching.points": ("Groups", "cluster", "halves", "head_path", "train_head", "trained_heads"),
    "bench.matching.regression": ("Exchange", "RealMoments", "centred", "torch_error"),
    "bench.matching.several": ("over_encoders", "varied"),
    "bench.matching.source": ("SourceModel",),
    "bench.matching.stage": ("Objective", "Stage", "few", "make_stage"),
    "bench.matching.start": ("mean_vectors", "random_words", "text_of", "vectors_of", "words_of"),
    "bench.matching.samples": ("Writer", "first_of_classes", "medoids_of", "sample_medoids"),
    "bench.matching.synthesis": ("synthesise",),
    "bench.matching.unroll": ("Back", "Unrolled", "unroll", "unroll_head"),
    "bench.models.class_lm": ("RowLM",),
    "bench.models.public_rows": ("PublicRows", "public_rows"),
    "bench.models.row_generator": ("RowGenerator",),
    "bench.models.variations": ("Continuations", "MaskedEdits", "PublicContinuations", "Varies"),
    "bench.models.prompted": ("label_tokens",),
    "bench.models.task_lm": ("TaskLM",),
    "bench.privacy.ledger": ("Planned",),
    "bench.privacy.oracle": ("PrivateOracle",),
    "bench.privacy.private_method": ("PrivateConfig", "PrivateMethod"),
    "bench.privacy.trained": ("TrainedConfig", "TrainedMethod", "TrainingConfig", "train_privately"),
    "bench.privacy.training": ("RowModel", "TrainingOptions"),
    "bench.selection": ("kmeans_rows",),
    "bench.soft": ("Schedule", "SoftInputs"),
    "bench.method": ("Method", "MethodCard", "MethodConfig", "Skip"),
    "bench.training.batches": ("Encoded",),
    "bench.training.inner": ("InnerModel", "Lesson"),
    "bench.training.learner": ("Learner", "LearnerConfig", "TrainContext", "TrainingSet"),
    "bench.training.modules": ("tokenizer_for",),
    "bench.training.recipe": ("Recipe",),
    "bench.training.torch_learner": ("TorchLearner",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
__all__ = [*sorted(_MODULE_OF)]  # noqa: PLE0604 # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'bench.api' has no attribute '{name}'")
    return getattr(import_module(_MODULE_OF[name]), name)
