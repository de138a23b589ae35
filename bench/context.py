"""What the harness hands to a method: seeds, cost meter, device, scratch folder, encoder, progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tdbench.bench.canonical import content_id, seed_from
from tdbench.bench.cost import CostMeter
from tdbench.bench.data.text import LabelledText
from tdbench.bench.errors import PluginError
from tdbench.bench.models.encoder import Encoder

if TYPE_CHECKING:
    from tdbench.bench.data.public import PublicPool
    from tdbench.bench.matching.source import SourceModel
    from tdbench.bench.models.llm.access import Access
    from tdbench.bench.models.llm.client import LLM
    from tdbench.bench.models.llm.prompts import TaskWords
    from tdbench.bench.models.task_lm import TaskLM
    from tdbench.bench.record import PublicResource
    from tdbench.bench.training.learner import Learner


@dataclass(frozen=True)
class Features:
    """An encoder bound to one run's cost meter and progress line."""

    encoder: Encoder
    cost: CostMeter
    tick: Callable[[float], None]

    def embed(self, text: LabelledText) -> np.ndarray:
        """Returns (N, D) float32 features of N texts, each of L2 norm 1; cached by the rows."""
        return self.encoder.embed(text, self.cost, self.tick)

    def embed_both(self, real: LabelledText, other: LabelledText) -> tuple[np.ndarray, np.ndarray]:
        """Returns the features of real and of other texts in one space, also where features depend on all texts that are read together."""
        if self.encoder.rowwise:
            return self.embed(real), self.embed(other)
        fields = {name: [*column, *other.fields[name]] for name, column in real.fields.items()}
        labels = np.concatenate([real.labels_N, other.labels_N])
        both_ND = self.embed(LabelledText(fields, labels, real.label_names, np.arange(len(labels))))
        return both_ND[: len(real)], both_ND[len(real) :]


@dataclass(frozen=True)
class Source:
    """What `Context.source` is built from.

    Args:
        name: Its name in the protocol.
        learner: The protocol's source learner.
        max_length: Maximum length in tokens.
        cache: Where what depends on the real texts alone is kept.
    """

    name: str
    learner: Learner
    max_length: int
    cache: Path


def _no_source() -> Source:
    raise PluginError("there is no source learner here; pass make_source to the Context.")


@dataclass(frozen=True)
class Context:
    """Everything a method may use besides the train split.

    Args:
        seed: Seed of this distilled set; the same for all methods, so that sets are paired.
        device: `cpu` or `cuda`.
        cost: Cost meter; `with ctx.cost.phase("select"):` names a phase.
        scratch: Empty folder, deleted afterwards.
        make_encoder: Builds the protocol's source encoder.
        diagnostics: What the method measures about its set, by name; the record keeps it.
        curves: What the method notes at every step, by name; the record keeps it.
        progress: Receives the finished fraction of the distillation, 0 to 1.
        make_source: Names the source learner.
        public_pool: Public texts, for methods whose card reads them.
        resources: What is public and used besides the train split, as a private method's statement lists it.
        llm_access: Opens language models that are prompted, for methods whose card reads them.
        noise_name: Tells this set's noise from that of all others; nothing private is in it.
    """

    seed: int
    device: str
    cost: CostMeter
    scratch: Path
    make_encoder: Callable[[], Encoder]
    diagnostics: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)
    progress: Callable[[float], None] = field(default=lambda _: None)
    make_source: Callable[[], Source] = _no_source
    public_pool: PublicPool | None = None
    resources: tuple[PublicResource, ...] = ()
    noise_name: str = ""
    llm_access: Access | None = None

    def public(self) -> PublicPool:
        """Returns texts that are public beside the task: sentences of other tasks' train texts, without labels.

        Raises:
            PluginError: The method's card does not say that it reads them.
        """
        if self.public_pool is None:
            raise PluginError("it uses public texts; its card must say reads=('public',).")
        return self.public_pool

    def llm(self, name: str, real: LabelledText) -> LLM:
        """Returns a language model that is prompted; replies are stored, counted and charged.

        Args:
            name: Such as `task-lm`, `hf:<id or folder>`, or `openai:<model>` of a server.
            real: The train split, which the task's own decoder (`task-lm`) is trained on.

        Raises:
            PluginError: The method's card does not say that it asks one.
            PrerequisiteError: The model is nowhere to be had.
        """

        def task_lm() -> tuple[TaskLM, SourceModel]:
            source = self.source(real)
            return self.task_lm(real, source), source

        return self._access().open(name, real, device=self.device, cost=self.cost, task_lm=task_lm)

    def words(self) -> TaskWords:
        """Returns how the task's texts and classes are spoken of to language models."""
        return self._access().words

    def _access(self) -> Access:
        if self.llm_access is None:
            raise PluginError("it asks a language model; its card must say reads=('encoder', 'llm').")
        return self.llm_access

    def rng(self, axis: str) -> np.random.Generator:
        """Returns the random stream of an axis, such as `selection`; the same axis always starts anew."""
        return np.random.default_rng(self.torch_seed(axis))

    def shared_rng(self, axis: str) -> np.random.Generator:
        """Returns a random stream that is the same for all sets: for work that they are to share."""
        return np.random.default_rng(seed_from("all sets", axis))

    def torch_seed(self, axis: str) -> int:
        """Returns a seed for libraries that want an integer (63 bits)."""
        return seed_from(self.seed, axis)

    def encoder(self) -> Features:
        """Returns the encoder of the protocol's source learner."""
        return Features(self.make_encoder(), self.cost, self.progress)

    def source(self, real: LabelledText) -> SourceModel:
        """Returns the protocol's source learner at its initial weights, for methods that match its gradients or features.

        Raises:
            UsageError: The source learner has no token embeddings.
        """
        given = self.make_source()
        return self._source_model(given.learner, real, given.name)

    def _source_model(self, learner: Learner, real: LabelledText, name: str) -> SourceModel:
        from tdbench.bench.matching.source import SourceModel

        given = self.make_source()
        seed = self.torch_seed("source")
        return SourceModel(
            learner,
            real,
            name=name,
            max_length=given.max_length,
            device=self.device,
            cost=self.cost,
            cache=given.cache,
            seed=seed,
            tick=self.progress,
        )

    def task_lm(self, real: LabelledText, source: SourceModel) -> TaskLM:
        """Returns the class-conditional language model of these very rows, over the source learner's tokens.

        It is trained once for all sets; every set is charged its cold cost, and its held-out perplexity is noted.
        """
        made = self._language_model(real, source, seed=0)
        self.diagnostics["task_lm_perplexity"] = made.perplexity
        return made

    def asked(self, real: LabelledText, lm: str, template: str) -> SourceModel:
        """Returns a causal language model in the source learner's place: it reads a text and a template and says what comes next.

        Args:
            real: Real texts.
            lm: `gpt2`, `phi-1_5` or `hf:<id or folder>`.
            template: Text behind every text.
        """
        from tdbench.bench.models.prompted import Asked

        return self._source_model(Asked(lm, template), real, lm)

    def prompted_lm(self, lm: str, prompt: str, labels: tuple[str, ...]) -> TaskLM:
        """Returns a causal language model that is asked for texts of a class; see `tdbench.bench.models.prompted.prompted_lm`."""
        from tdbench.bench.models.prompted import prompted_lm

        return prompted_lm(lm, prompt, labels, self.make_source().max_length, self.device)

    def judge(self, real: LabelledText, source: SourceModel) -> TaskLM:
        """Returns a language model like `task_lm`, from another seed: it judges texts that the other one chose. For the harness only."""
        return self._language_model(real, source, seed=1)

    def _language_model(self, real: LabelledText, source: SourceModel, seed: int) -> TaskLM:
        from tdbench.bench.matching.initialisation import words_of
        from tdbench.bench.models.task_lm_training import TaskLMOptions, cached_task_lm

        return cached_task_lm(
            words_of(source, real),
            real.labels_N,
            source.table_VE,
            TaskLMOptions(),
            seed=seed,
            device=self.device,
            cache=self.make_source().cache / "task-lm",
            rows_id=content_id([real.fingerprint, source.tokens_id]),
            cost=self.cost,
            tick=self.progress,
        )
