"""From an objective on head inputs to a distilled set: starts, fits, and for text picks the best of several candidates.

Methods differ in their objective alone. A slot is one text that is wanted. Shapes: S slots, N real or sampled texts, M = candidates x S
texts that are fitted, D width of the head's input, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from bench.data.text import LabelledText
from bench.distilled import DistilledSet
from bench.errors import UsageError
from bench.matching.admm import AdmmOptions
from bench.matching.fit import fit_vectors
from bench.matching.points import cluster, train_head
from bench.matching.projection import Projection
from bench.matching.start import random_words, text_of, vectors_of, words_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.context import Context
    from bench.matching.options import SynthesisConfig
    from bench.matching.points import Groups
    from bench.matching.source import SourceModel
    from bench.models.task_lm import TaskLM

    Words = list[tuple[NDArray[np.int64], ...]]

TEACHER_STEPS = 500


class Objective(Protocol):
    """What synthetic texts are fitted to."""

    def loss(self, h_MD: torch.Tensor, copies: int) -> torch.Tensor:
        """Returns the mean loss of `copies` sets of S texts, slot after slot."""
        ...

    def alone(self, h_ND: torch.Tensor, labels_N: NDArray[np.int64]) -> NDArray[np.float64]:
        """Returns (N, S): how badly each text would serve each slot if it were alone there."""
        ...


@dataclass(frozen=True, eq=False)
class Stage:
    """What a synthesis works with.

    Args:
        real: The real texts in use.
        source: The frozen source learner.
        h_ND: The real texts' head inputs.
        groups: Clusters of every class.
        group_S: Group of every slot.
    """

    real: LabelledText
    source: SourceModel
    h_ND: NDArray[np.float32]
    groups: Groups
    group_S: NDArray[np.int64]

    @property
    def labels_S(self) -> NDArray[np.int64]:  # noqa: N802 - a shape suffix
        """Class of every slot."""
        return self.groups.labels_G[self.group_S]

    def one_hot(self, labels_N: NDArray[np.int64]) -> torch.Tensor:
        """Returns (N, C) class shares of hard labels, on the source's device."""
        labels = torch.tensor(labels_N, device=self.source.device)
        return torch.nn.functional.one_hot(labels, self.real.n_classes).float()

    @property
    def h(self) -> torch.Tensor:
        """The real head inputs on the source's device."""
        return torch.from_numpy(self.h_ND).to(self.source.device)


def few(real: LabelledText, per_class: int | None, ctx: Context) -> LabelledText:
    """Draws the real texts of the low-resource setting."""
    if per_class is None:
        return real
    rng = ctx.rng("low resource")
    rows = [rng.permutation(real.positions_of_class(label))[:per_class] for label in range(real.n_classes)]
    return real.take(np.sort(np.concatenate(rows)))


def make_stage(real: LabelledText, per_class: int, group_size: int, ctx: Context) -> Stage:
    """Encodes the real texts and cuts every class into as many clusters as there are groups of slots.

    Raises:
        UsageError: The source learner has no token table, or a class has fewer texts than groups.
    """
    counts = np.bincount(real.labels_N, minlength=real.n_classes)
    if counts.min() == 0:
        raise UsageError(
            f"class '{real.label_names[int(counts.argmin())]}' has no real text; matching needs texts of every class."
        )
    source = ctx.source(real)
    h_ND = source.real_features(real)
    with ctx.cost.phase("cluster"):
        of_class = -(-per_class // group_size)
        groups = cluster(h_ND, real.labels_N, of_class, ctx.torch_seed("clusters"))
    dealt = np.sort(np.arange(per_class) % of_class)
    group_S = np.concatenate([dealt + label * of_class for label in range(real.n_classes)])
    return Stage(real, source, h_ND, groups, group_S)


def synthesise(stage: Stage, objective: Objective, config: SynthesisConfig, ctx: Context) -> DistilledSet:
    """Makes a set of S texts, or of token vectors.

    Args:
        stage: Real texts, learner, clusters and slots.
        objective: What to fit.
        config: How.
        ctx: Seeds, cost meter, language model.
    """
    source, is_text = stage.source, config.output == "text"
    lm = ctx.task_lm(stage.real, source) if is_text or config.start == "lm" or config.rho > 0 else None
    copies = config.candidates if is_text else 1
    labels_M = np.tile(stage.labels_S, copies)
    with ctx.cost.phase("start"):
        start = _start(stage, objective, config, lm, copies=copies, ctx=ctx)
    with ctx.cost.phase("match"):
        soft = vectors_of(source, start)
        project = None if lm is None else Projection(source, lm, soft.lengths_MF, labels_M, config.top_k)
        words = start
        if config.outer > 0:
            # The loss is a mean over texts, so the ties are a mean over vectors: rho means the same for every budget.
            rho = config.rho / len(soft.vectors_SD)
            options = AdmmOptions(config.outer, config.inner, config.lr, rho, config.balance)
            soft, trace = fit_vectors(
                source,
                soft,
                lambda h_MD: objective.loss(h_MD, copies),
                project or (lambda x_SE: x_SE),
                options,
                noise=config.noise,
                seed=ctx.torch_seed("noise"),
                tick=ctx.progress,
            )
            ctx.diagnostics["match_loss"] = trace.loss[-1]
            if config.rho > 0:
                ctx.diagnostics["admm_primal"], ctx.diagnostics["admm_dual"] = trace.primal[-1], trace.dual[-1]
            if is_text and project is not None:
                words = project.words(torch.from_numpy(soft.vectors_SD).to(source.device))
    if not is_text:
        return DistilledSet.from_vectors(soft, labels_M)
    with ctx.cost.phase("pick"):
        kept = _pick(stage, objective, words, labels_M, ctx)
    assert lm is not None
    return DistilledSet.from_texts(kept, stage.labels_S)


def _start(
    stage: Stage, objective: Objective, config: SynthesisConfig, lm: TaskLM | None, *, copies: int, ctx: Context
) -> Words:
    """Returns the M texts to start from, all slots of one copy after another."""
    n_slots, source = len(stage.group_S), stage.source
    if config.start == "lm":
        assert lm is not None
        per_class = config.pool * n_slots // stage.real.n_classes
        labels_N = np.repeat(np.arange(stage.real.n_classes), per_class)
        pool = lm.sample(labels_N, len(stage.real.fields), ctx.torch_seed("samples"))
        costs_NS = objective.alone(source.features(source.frame.around(pool)), labels_N)
        costs_NS[labels_N[:, None] != stage.labels_S[None, :]] = np.inf
        return [pool[i] for i in best_distinct(costs_NS, copies)]
    words, rng = words_of(source, stage.real), ctx.rng("start")
    rows_M = np.zeros(copies * n_slots, dtype=np.int64)
    for group in range(len(stage.groups)):
        places = np.flatnonzero(np.tile(stage.group_S, copies) == group)
        medoid = stage.groups.medoids_G[[group]]
        others = np.setdiff1d(np.flatnonzero(stage.groups.groups_N == group), medoid)
        rows_M[places] = np.resize(np.append(medoid, rng.permutation(others)), len(places))
    texts = [words[row] for row in rows_M]
    if config.start == "rows":
        return texts
    return random_words(np.array([[len(part) for part in parts] for parts in texts]), words, rng)


def best_distinct(costs_NS: NDArray[np.float64], copies: int) -> NDArray[np.int64]:
    """Gives every slot, `copies` times, the cheapest text that is still free; the cheapest pairs are served first.

    Args:
        costs_NS: Cost of each text for each slot, infinite where it must not stand; enough texts for every slot and copy.
        copies: Texts a slot.

    Returns:
        (copies x S) texts, all slots of one copy after another.
    """
    left_NS = costs_NS.copy()
    chosen = np.full((copies, left_NS.shape[1]), -1, dtype=np.int64)
    for copy in range(copies):
        now_NS = left_NS.copy()
        for _ in range(left_NS.shape[1]):
            text, slot = np.unravel_index(np.argmin(now_NS), now_NS.shape)
            if not np.isfinite(now_NS[text, slot]):
                raise UsageError("there are fewer samples than texts to choose; raise method.pool.")
            chosen[copy, slot] = text
            now_NS[text, :] = now_NS[:, slot] = left_NS[text, :] = np.inf
    return chosen.reshape(-1)


def _pick(
    stage: Stage, objective: Objective, words: Words, labels_M: NDArray[np.int64], ctx: Context
) -> dict[str, list[str]]:
    """Keeps one candidate a slot: one that the teacher gives the slot's class goes first, then the cheapest; classes stay balanced.

    Candidates are judged as learners will read them: spelt out, and cut into tokens again.
    """
    fields = text_of(stage.source, list(stage.real.fields), words)
    spelt = LabelledText(fields, labels_M, stage.real.label_names, np.arange(len(words)))
    h_MD = stage.source.features(stage.source.tokenise(spelt))
    teacher = train_head(stage.h, stage.one_hot(stage.real.labels_N), TEACHER_STEPS, ctx.rng("teacher"))
    says_M = (h_MD @ teacher.weight_CD.t() + teacher.bias_C).argmax(1).cpu().numpy()
    costs_MS = objective.alone(h_MD, labels_M)
    n_slots = costs_MS.shape[1]
    own_M = costs_MS[np.arange(len(words)), np.tile(np.arange(n_slots), len(words) // n_slots)]
    ranked_KS = (own_M + 1e6 * (says_M != labels_M)).reshape(-1, n_slots)
    kept_S = ranked_KS.argmin(0) * n_slots + np.arange(n_slots)
    ctx.diagnostics.update(
        {
            "teacher_agreement_frac": float((says_M[kept_S] == labels_M[kept_S]).mean()),
            "teacher_agreement_all_frac": float((says_M == labels_M).mean()),
            "match_alone": float(own_M[kept_S].mean()),
        }
    )
    return {name: [column[i] for i in kept_S] for name, column in fields.items()}
