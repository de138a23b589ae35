"""From an objective to a distilled set: starts, fits, and for text picks the best of several candidates.

Methods differ in their objective alone. Shapes: S slots, N real or sampled texts, M = candidates x S texts that are fitted, D width of the
head's input, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from tdbench.bench.data.text import LabelledText
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.matching.clusters import train_head
from tdbench.bench.matching.fit import AdmmOptions, Reading, fit_vectors
from tdbench.bench.matching.initialisation import random_words, text_of, vectors_of, words_of
from tdbench.bench.matching.problem import best_distinct
from tdbench.bench.matching.projection import Projection
from tdbench.bench.matching.replace import ReplaceOptions, replace_tokens

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.context import Context
    from tdbench.bench.distilled import SoftInputs
    from tdbench.bench.matching.gradients import Head
    from tdbench.bench.matching.options import SynthesisConfig
    from tdbench.bench.matching.problem import MatchingProblem, Objective
    from tdbench.bench.models.task_lm import TaskLM

    Words = list[tuple[NDArray[np.int64], ...]]

TEACHER_STEPS, SURE_FRAC = 500, 1 / 3
"""Training of the head that knows classes, and the share of a class's samples, those that it is surest of, that texts start from."""
NEARNESS = 20.0
"""Price of distance in the projection, in nats for a cosine of 1. Without one, the language model replaces most words of vectors that have
not moved, and texts end farther from their goals than they started (docs/notes/matching-measurements.md has the figures)."""


def synthesise(
    problem: MatchingProblem,
    objective: Objective,
    config: SynthesisConfig,
    ctx: Context,
    lm: TaskLM | None = None,
    *,
    nearness: float | None = None,
) -> DistilledSet:
    """Makes a set of S texts, or of token vectors.

    Args:
        problem: Real texts, learner, clusters and slots.
        objective: What to fit.
        config: How.
        ctx: Seeds, cost meter, language model.
        lm: In the place of the task's language model; over the source's tokens. Then words are chosen as published, whatever their
            distance among the nearest, unless a nearness is given.
        nearness: Price of distance in the projection; None for `NEARNESS` with the task's language model and 0 with another one.
    """
    is_text = config.output == "text"
    if nearness is None:
        nearness = NEARNESS if lm is None else 0.0
    if lm is None and config.uses_task_lm:
        lm = ctx.task_lm(problem.real, problem.source)
    made = _Synthesis(problem, objective, config, lm, ctx, nearness=nearness)
    with ctx.cost.phase("start"):
        words = made.start()
    with ctx.cost.phase("match"):
        soft = made.fit(words)
        if is_text:
            words = made.spell(words, soft)
    if not is_text:
        return DistilledSet.from_vectors(soft, made.labels_M)
    with ctx.cost.phase("pick"):
        kept = made.pick(words)
    return DistilledSet.from_texts(kept, problem.labels_S)


class _Synthesis:
    """One synthesis, step by step."""

    def __init__(
        self,
        problem: MatchingProblem,
        objective: Objective,
        config: SynthesisConfig,
        lm: TaskLM | None,
        ctx: Context,
        *,
        nearness: float,
    ) -> None:
        self._problem, self._objective, self._config, self._ctx = problem, objective, config, ctx
        self._lm, self._nearness = lm, nearness
        self._copies = config.candidates if config.output == "text" else 1
        self._teacher: Head | None = None
        self.labels_M = np.tile(problem.labels_S, self._copies)

    def start(self) -> Words:
        """Returns the M texts to start from, all slots of one copy after another."""
        problem, config, ctx = self._problem, self._config, self._ctx
        n_slots, source = len(problem.group_S), problem.source
        if config.start in ("lm", "lm-any"):
            assert self._lm is not None
            per_class = config.pool * n_slots // problem.real.n_classes
            labels_N = np.repeat(np.arange(problem.real.n_classes), per_class)
            pool = self._lm.sample(labels_N, len(problem.real.fields), ctx.torch_seed("samples"))
            h_ND = source.features(source.special_tokens.around(pool))
            costs_NS = self._alone(h_ND, labels_N)
            costs_NS[labels_N[:, None] != problem.labels_S[None, :]] = np.inf
            if config.start == "lm":
                costs_NS[self._doubtful(h_ND, labels_N)] = np.inf
            return [pool[i] for i in best_distinct(costs_NS, self._copies)]
        words, rng = words_of(source, problem.real), ctx.rng("start")
        rows_M = np.zeros(self._copies * n_slots, dtype=np.int64)
        for group in range(len(problem.groups)):
            places = np.flatnonzero(np.tile(problem.group_S, self._copies) == group)
            medoid = problem.groups.medoids_G[[group]]
            others = np.setdiff1d(np.flatnonzero(problem.groups.groups_N == group), medoid)
            rows_M[places] = np.resize(np.append(medoid, rng.permutation(others)), len(places))
        texts = [words[row] for row in rows_M]
        if config.start == "rows":
            return texts
        if config.start == "noise":
            words = [(np.arange(len(source.table_VE)),)]
        return random_words(np.array([[len(part) for part in parts] for parts in texts]), words, rng)

    def _doubtful(self, h_ND: torch.Tensor, labels_N: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Finds all samples but the third of every class that the teacher is surest of, and never fewer than the candidates."""
        own_N = self._teacher_shares(h_ND)[np.arange(len(labels_N)), labels_N]
        doubtful_N = np.ones(len(labels_N), dtype=bool)
        for label in range(self._problem.real.n_classes):
            rows = np.flatnonzero(labels_N == label)
            needed = self._copies * int((self._problem.labels_S == label).sum())
            surest = rows[np.argsort(-own_N[rows], kind="stable")]
            doubtful_N[surest[: max(needed, round(SURE_FRAC * len(rows)))]] = False
        return doubtful_N

    def _teacher_shares(self, h_ND: torch.Tensor) -> NDArray[np.float32]:
        """Returns the (N, C) class shares that a linear head gives, trained on the real texts."""
        if self._teacher is None:
            targets_NC = self._problem.one_hot(self._problem.real.labels_N)
            self._teacher = train_head(self._problem.h, targets_NC, TEACHER_STEPS, self._ctx.rng("teacher"))
        with torch.no_grad():
            return torch.softmax(h_ND @ self._teacher.weight_CD.t() + self._teacher.bias_C, dim=1).cpu().numpy()

    def fit(self, words: Words) -> SoftInputs:
        """Fits the texts' token vectors, and notes the distances before and after."""
        problem, config, ctx = self._problem, self._config, self._ctx
        soft = vectors_of(problem.source, words)
        notes = ctx.diagnostics
        notes["match_floor"] = self._objective.split_half_baseline(ctx.rng("halves"))
        notes["match_start"] = notes["match_vectors"] = self._distance(soft, self._copies)
        if config.outer == 0:
            return soft
        # The loss is a mean over texts, so the ties are a mean over vectors: rho means the same for every budget.
        rho = config.rho / len(soft.vectors_SD)
        project = self._projection(soft) if config.rho > 0 else lambda x_SE: x_SE
        soft, trace = fit_vectors(
            problem.source,
            soft,
            lambda read: self._objective.loss(read, self._copies),
            project,
            AdmmOptions(config.outer, config.inner, config.lr, rho, config.balance),
            noise=config.noise,
            seed=ctx.torch_seed("noise"),
            tick=ctx.progress,
        )
        notes["match_vectors"] = self._distance(soft, self._copies)
        ctx.curves["match_loss"] = trace.loss
        if config.rho > 0:
            ctx.curves.update(admm_primal=trace.primal, admm_dual=trace.dual, admm_rho=trace.rho)
        return soft

    def spell(self, words: Words, soft: SoftInputs) -> Words:
        """Turns fitted vectors into words, and improves these one by one; what that costs in distance is the discretisation gap."""
        problem, config, ctx = self._problem, self._config, self._ctx
        assert self._lm is not None
        if config.outer:
            before = words
            words = self._projection(soft).words(torch.from_numpy(soft.vectors_SD).to(problem.source.device))
            ctx.diagnostics["changed_frac"] = _changed(before, words)
        ctx.diagnostics["match_words"] = self._distance(vectors_of(problem.source, words), self._copies)
        if config.replace:
            slot_M = torch.arange(len(words), device=problem.source.device) % len(problem.group_S)

            def cost(h_ND: torch.Tensor, of_N: NDArray[np.int64]) -> torch.Tensor:
                own_N1 = slot_M[torch.from_numpy(of_N)].unsqueeze(1)
                return self._objective.per_sample_loss(h_ND, self.labels_M[of_N]).gather(1, own_N1).squeeze(1)

            options = ReplaceOptions(config.replace, config.proposals, config.likely, config.fluency)
            words, curve = replace_tokens(
                problem.source,
                self._lm,
                words,
                self.labels_M,
                cost=cost,
                options=options,
                rng=ctx.rng("places"),
                tick=ctx.progress,
            )
            ctx.curves["replace_cost"] = curve
        return words

    def pick(self, words: Words) -> dict[str, list[str]]:
        """Keeps one candidate a slot: one that the teacher gives the slot's class goes first, then the cheapest; classes stay balanced.

        Candidates are judged as learners will read them: spelt out, and cut into tokens again.
        """
        problem, source, labels_M = self._problem, self._problem.source, self.labels_M
        fields = text_of(source, list(problem.real.fields), words)
        spelt = LabelledText(fields, labels_M, problem.real.label_names, np.arange(len(words)))
        h_MD = source.features(source.tokenise(spelt))
        says_M = self._teacher_shares(h_MD).argmax(1)
        costs_MS = self._alone(h_MD, labels_M)
        n_slots = costs_MS.shape[1]
        own_M = costs_MS[np.arange(len(words)), np.tile(np.arange(n_slots), len(words) // n_slots)]
        ranked_KS = (own_M + 1e6 * (says_M != labels_M)).reshape(-1, n_slots)
        kept_S = ranked_KS.argmin(0) * n_slots + np.arange(n_slots)
        again = words_of(source, spelt)
        self._ctx.diagnostics.update(
            {
                "match_kept": self._distance(vectors_of(source, [again[i] for i in kept_S]), 1),
                "teacher_agreement_frac": float((says_M[kept_S] == labels_M[kept_S]).mean()),
                "teacher_agreement_all_frac": float((says_M == labels_M).mean()),
            }
        )
        return {name: [column[i] for i in kept_S] for name, column in fields.items()}

    def _projection(self, soft: SoftInputs) -> Projection:
        assert self._lm is not None
        source, top_k = self._problem.source, self._config.top_k
        return Projection(source, self._lm, soft.lengths_MF, self.labels_M, top_k, nearness=self._nearness)

    def _alone(self, h_ND: torch.Tensor, labels_N: NDArray[np.int64]) -> NDArray[np.float64]:
        with torch.no_grad():
            return self._objective.per_sample_loss(h_ND, labels_N).cpu().numpy().astype(np.float64)

    def _distance(self, soft: SoftInputs, copies: int) -> float:
        with torch.no_grad():
            return float(self._objective.loss(Reading.of(self._problem.source, soft), copies))


def _changed(before: Words, after: Words) -> float:
    """Returns the share of all words that are others than before, place by place."""
    pairs = [(a, b) for old, new in zip(before, after, strict=True) for a, b in zip(old, new, strict=True)]
    return float(np.concatenate([a != b for a, b in pairs]).mean())
