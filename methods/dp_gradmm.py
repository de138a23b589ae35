"""Gradient matching under differential privacy: noisy class gradients are released once; texts are then fitted to them for nothing more."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from tdbench.api import DistilledSet, MethodCard, PrivateConfig, PrivateMethod, Query, UsageError

if TYPE_CHECKING:
    import torch

    from tdbench.api import Budget, Context, LabelledText, PrivateOracle
    from tdbench.api.matching import HeadGradients, Heads, MatchingProblem, Reading
    from tdbench.api.privacy import PublicRows

SUMS, GRADIENTS = "class sums", "head gradients"


class DPGradMM(PrivateMethod):
    """GRADMM on released gradients: the sums of rows' clipped gradients at linear heads on the source learner, with noise.

    The first head is zero, and its gradients follow from the sums of features. Each further head is a gradient step away from the one
    before it, by what has been released. Public texts whose gradients add up to those of a class are chosen in turn; ADMM may then
    fit their words, with a language model of public texts. Features are taken from their mean: the private rows' own, as it was
    released, and the public texts' own, because public texts come from elsewhere.
    """

    name = "dp_gradmm"
    card = MethodCard(
        summary="Public texts, fitted to noisy class gradients of linear heads.",
        family="private",
        paper="Nguyen et al., 2025, GRADMM (its private mode, with other books); Dong et al., 2022, on matching under privacy",
        output="text",
        reads=("encoder", "source", "lm", "public"),
        private=True,
        tags=("public-pool",),
        counts_texts=True,
    )

    class Config(PrivateConfig):
        """Options; chosen on the development task (docs/notes/private-methods.md)."""

        heads: PositiveInt = 3
        """Heads at which gradients are matched; each costs its share of the budget."""
        head_lr: PositiveFloat = 10.0
        """Length of the gradient steps between heads."""
        clip: PositiveFloat = 1.0
        """L2 norm that a row's gradient is clipped to."""
        count_weight: PositiveFloat = 0.3
        """Further coordinate of every row in the first answer, by which the sizes of classes are learnt."""
        tokens: PositiveInt = 6_000
        """Only public texts are used that consist of so many of the commonest tokens."""
        candidates: PositiveInt = 20_000
        """Public texts to choose from, drawn at random."""
        outer: NonNegativeInt = 0
        """ADMM's updates of the words; 0 keeps the public texts as they are."""
        inner: PositiveInt = 15
        """Adam steps between them."""
        lr: PositiveFloat = 0.02
        """Their learning rate."""
        rho: PositiveFloat = 0.5
        """Weight of ADMM's ties between vectors and words."""
        top_k: PositiveInt = 20
        """Nearest tokens among which the language model picks."""
        nearness: float = Field(default=20.0, ge=0)
        """What a cosine of 1 is worth beside the language model's scores, in nats."""

        @property
        def idle(self) -> frozenset[str]:
            """Options of ADMM without ADMM, and of further heads without one."""
            fit = ("inner", "lr", "rho", "top_k", "nearness") if self.outer == 0 else ()
            return frozenset((*fit, *(("head_lr", "clip") if self.heads == 1 else ())))

        @property
        def uses_task_lm(self) -> bool:
            """Whether a language model of public texts is asked."""
            return self.outer > 0

    @property
    def writes(self) -> bool:
        """Only ADMM changes a word."""
        return self.config.outer > 0

    def release(self, oracle: PrivateOracle, budget: Budget, ctx: Context) -> DistilledSet:
        """Asks for gradients, chooses texts, and fits their words."""
        from tdbench.api.privacy import public_rows

        assert budget.per_class is not None
        per_class, config = budget.per_class, self.config
        public = public_rows(ctx, oracle.field_names, oracle.label_names, config.tokens)
        drawn = ctx.rng("candidates").permutation(len(public.rows))[: config.candidates]
        labels = np.repeat(np.arange(oracle.n_classes), per_class)
        if len(drawn) < len(labels):
            raise UsageError(
                f"{len(labels)} texts are wanted and {len(drawn)} are candidates; raise method.candidates."
            )
        rows = public.rows.take(drawn)
        if oracle.zero_budget:
            return DistilledSet.from_texts(rows.take(np.arange(len(labels))).fields, labels)
        h_MD = oracle.embed(rows).astype(np.float64)
        center_D = h_MD.mean(0)
        with ctx.cost.phase("target"):
            asked = self._ask(oracle)
        with ctx.cost.phase("select"):
            inputs_ME = np.column_stack([h_MD - center_D, np.ones(len(h_MD))])
            chosen = greedy(asked, inputs_ME, per_class)
        start = replace(rows.take(chosen), labels_N=labels)
        if config.outer == 0:
            return DistilledSet.from_texts(start.fields, labels)
        return self._fit(public, start, center_D, asked, ctx)

    def _ask(self, oracle: PrivateOracle) -> Released:
        """Asks for all gradients; the heads follow from the answers."""
        config, n_classes = self.config, oracle.n_classes
        queries = [Query(SUMS)]
        if config.heads > 1:
            queries.append(Query(GRADIENTS, steps=config.heads - 1))
        oracle.allocate(*queries)
        sums_CD, counts_C = oracle.class_sums(SUMS, config.count_weight)
        center_D = sums_CD.sum(0) / oracle.n_rows
        inputs_CE = np.column_stack([sums_CD - counts_C[:, None] * center_D, counts_C])
        errors_CC = 1 / n_classes - np.eye(n_classes)  # of a head that is zero; every row of a class errs alike
        heads, gradients = [np.zeros((n_classes, inputs_CE.shape[1]))], [np.einsum("cj,ce->cje", errors_CC, inputs_CE)]
        for _ in range(config.heads - 1):
            heads.append(heads[-1] - config.head_lr * gradients[-1].sum(0) / oracle.n_rows)
            gradients.append(oracle.head_gradients(GRADIENTS, heads[-1], center_D, config.clip))
        return Released(np.stack(heads), np.stack(gradients))

    def _fit(
        self, public: PublicRows, start: LabelledText, center_D: np.ndarray, asked: Released, ctx: Context
    ) -> DistilledSet:
        """Fits the words of the chosen texts by ADMM."""
        from tdbench.api.matching import Groups, MatchingProblem, synthesise
        from tdbench.api.options import SynthesisConfig

        config, n_classes = self.config, start.n_classes
        medoids = np.searchsorted(start.labels_N, np.arange(n_classes))
        groups = Groups(start.labels_N, medoids, np.arange(n_classes))
        problem = MatchingProblem(start, public.source, public.source.real_features(start), groups, start.labels_N)
        options = SynthesisConfig(
            start="rows",
            candidates=1,
            pool=1,
            outer=config.outer,
            inner=config.inner,
            lr=config.lr,
            rho=config.rho,
            top_k=config.top_k,
        )
        lm = ctx.task_lm(public.rows, public.source)
        return synthesise(problem, _Matching(problem, asked, center_D), options, ctx, lm, nearness=config.nearness)


class Released(NamedTuple):
    """Heads, and the noisy sums of every class's gradients at them. Shapes: K heads, C classes, E features and a constant."""

    heads_KCE: np.ndarray
    gradients_KCCE: np.ndarray


def greedy(asked: Released, inputs_ME: np.ndarray, per_class: int) -> np.ndarray:
    """Chooses texts one after another, each so that the sum of the gradients so far points where its class's gradient does.

    Gradients are those of the head's weights; its offsets' say nothing of a text beyond its class.

    Args:
        asked: What was released.
        inputs_ME: Inputs of M candidates.
        per_class: Texts of a class; classes choose in turn.

    Returns:
        The positions of the chosen texts, class after class; none is chosen twice.
    """
    from scipy.special import softmax

    n_heads, n_classes, _ = asked.heads_KCE.shape
    shares_KMC = softmax(np.einsum("kce,me->kmc", asked.heads_KCE, inputs_ME), axis=-1)
    errors_CKMC = (shares_KMC[None] - np.eye(n_classes)[:, None, None]).astype(np.float32)
    h_MD = inputs_ME[:, :-1].astype(np.float32)
    target_KCCD = asked.gradients_KCCE[..., :-1]
    target_KCCD = (target_KCCD / np.linalg.norm(target_KCCD, axis=(2, 3), keepdims=True)).astype(np.float32)
    aimed_CKM = [
        (errors_KMC * np.einsum("kcd,md->kmc", target_KCCD[:, label], h_MD)).sum(-1)
        for label, errors_KMC in enumerate(errors_CKMC)
    ]
    square_M = (h_MD**2).sum(1)
    sums_CKCD = np.zeros((n_classes, n_heads, n_classes, h_MD.shape[1]), dtype=np.float32)
    free_M = np.ones(len(h_MD), dtype=bool)
    chosen = np.empty((n_classes, per_class), dtype=np.int64)
    for place in range(per_class):
        for label in range(n_classes):
            errors_KMC, sum_KCD = errors_CKMC[label], sums_CKCD[label]
            shared_KM = (errors_KMC * np.einsum("kcd,md->kmc", sum_KCD, h_MD)).sum(-1)
            length_KM = (sum_KCD**2).sum((1, 2))[:, None] + 2 * shared_KM + (errors_KMC**2).sum(-1) * square_M
            along_K1 = (target_KCCD[:, label] * sum_KCD).sum((1, 2))[:, None]
            cosine_M = ((along_K1 + aimed_CKM[label]) / np.sqrt(np.maximum(length_KM, 1e-12))).mean(0)
            best = int(np.where(free_M, cosine_M, -np.inf).argmax())
            free_M[best], chosen[label, place] = False, best
            sum_KCD += errors_KMC[:, best, :, None] * h_MD[best]
    return chosen.ravel()


class _Matching:
    """The objective: 1 - cosine of the released gradients and those of the fitted texts, class by class. Shapes: M texts, S slots."""

    def __init__(self, problem: MatchingProblem, asked: Released, center_D: np.ndarray) -> None:
        import torch

        from tdbench.api.matching import HeadGradients, Heads

        self.problem = problem
        heads, made = (torch.from_numpy(part).float().to(problem.source.device) for part in asked)
        self._center_D = torch.from_numpy(center_D).float().to(problem.source.device)
        self._heads: Heads = Heads(heads[..., :-1], heads[..., -1])
        self._made: HeadGradients = HeadGradients(made[..., :-1], made[..., -1])

    def loss(self, read: Reading, copies: int) -> torch.Tensor:
        """Returns the mean distance over heads, classes and copies."""
        import torch

        from tdbench.api.matching import distances

        n_classes, labels_S = self.problem.real.n_classes, self.problem.labels_S
        goal = self._made.take(torch.arange(n_classes).repeat(copies))
        groups_M = np.concatenate([labels_S + copy * n_classes for copy in range(copies)])
        targets_MC = self.problem.one_hot(np.tile(labels_S, copies))
        groups = torch.from_numpy(groups_M).to(targets_MC.device)
        return distances(goal, self._heads, self._inputs(read.h_MD), targets_MC, groups, distance="cosine").mean()

    def per_sample_loss(self, h_ND: torch.Tensor, labels_N: np.ndarray) -> torch.Tensor:
        """Returns the (N, S) distances of each text's own gradient to that of each slot's class."""
        from tdbench.api.matching import every_distance

        targets_NC = self.problem.one_hot(labels_N)
        far_NC = every_distance(self._made, self._heads, self._inputs(h_ND), targets_NC, distance="cosine")
        return far_NC[:, self.problem.labels_S]

    def split_half_baseline(self, rng: np.random.Generator) -> float:  # noqa: ARG002 - part of what an objective is
        """Returns NaN: how far halves of the private rows lie apart is nobody's to know."""
        return float("nan")

    def _inputs(self, h_ND: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.nn.functional.normalize(h_ND, dim=1) - self._center_D
