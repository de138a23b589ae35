"""Distribution matching: synthetic texts whose features are distributed as those of the real texts (Zhao and Bilen, 2023, for images)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import NonNegativeInt, PositiveInt, model_validator

from tdbench.api import Method, MethodCard
from tdbench.api.options import SynthesisConfig

if TYPE_CHECKING:
    import torch

    from tdbench.api import Budget, Context, DistilledSet, LabelledText
    from tdbench.api.matching import MatchingProblem, Reading

MMD_ROWS = 512
MMD_SCALES = (0.25, 0.5, 1.0, 2.0)


class DM(Method):
    """Matches the head inputs of the frozen source learner, class by class.

    `mean`: every group of synthetic texts is fitted to the mean features of one cluster of its class (with one group a class, the published
    matching of class means). `mmd`: all texts of a class are fitted to its distribution by a kernel. Features are not of unit length.
    """

    name = "dm"
    card = MethodCard(
        summary="Texts whose features match those of clusters of real texts: chosen samples, improved token by token.",
        family="distribution matching",
        paper="Zhao and Bilen, 2023, Dataset condensation with distribution matching (here on frozen text features)",
        output=None,
        cost_class="minutes",
        reads=("encoder", "source", "lm"),
        counts_texts=True,
    )

    class Config(SynthesisConfig):
        """Looked for on the development task (rotten_tomatoes); docs/notes/matching-measurements.md says what was compared."""

        outer: NonNegativeInt = 0
        """ADMM's updates of the words and of the dual; text is made by selection and replacement alone."""
        replace: NonNegativeInt = 20
        """Places of every text at which other tokens are tried, one after another. Text only."""
        kernel: Literal["mean", "mmd"] = "mean"
        """Squared distance of group means, or squared maximum mean discrepancy with Gaussian kernels of four widths."""
        target: Literal["class", "permuted"] = "class"
        """`permuted`: the features of the next class, a control."""
        group_size: PositiveInt = 1
        """Synthetic texts whose mean features are matched."""

        @model_validator(mode="after")
        def _kernel_is_used(self) -> DM.Config:
            if self.kernel == "mmd" and self.outer == 0:
                raise ValueError(
                    "a text alone has no distribution: kernel=mmd is matched by steps, and outer is 0; give outer=8"
                )
            return self

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Takes the real features, and fits texts to them."""
        from tdbench.api.matching import encoder_ensemble, make_problem, subsample, synthesise

        assert budget.per_class is not None
        real = subsample(real, self.config.real_per_class, ctx)
        problem = make_problem(real, budget.per_class, self.config.group_size, ctx)
        with ctx.cost.phase("target"):
            kind, permuted = _Means if self.config.kernel == "mean" else _Kernels, self.config.target == "permuted"
            goal = encoder_ensemble(problem, self.config, ctx, lambda one: kind(one, permuted, ctx.rng("target")))
        return synthesise(problem, goal, self.config, ctx)


class _Means:
    """Squared distance of group means, in units of the real features' mean squared distance from their mean."""

    def __init__(self, problem: MatchingProblem, permuted: bool, rng: np.random.Generator) -> None:  # noqa: ARG002 - as _Kernels
        import torch

        self.problem = problem
        groups = torch.from_numpy(problem.groups.groups_N).to(problem.h.device)
        member_NG = torch.nn.functional.one_hot(groups, len(problem.groups)).to(problem.h.dtype)
        self._mean_GD = (member_NG.t() @ problem.h) / member_NG.sum(0).unsqueeze(1)
        if permuted:
            self._mean_GD = self._mean_GD.roll(-(len(problem.groups) // problem.real.n_classes), dims=0)
        self._unit = float(problem.h.var(0).sum())

    def loss(self, read: Reading, copies: int) -> torch.Tensor:
        """Returns the mean over all parts and copies."""
        return self.of_features(read.h_MD, copies)

    def of_features(self, h_MD: torch.Tensor, copies: int) -> torch.Tensor:
        """Returns the mean over groups and copies."""
        import torch

        group_S = torch.from_numpy(self.problem.group_S).to(h_MD.device)
        member_SG = torch.nn.functional.one_hot(group_S, len(self._mean_GD)).to(h_MD.dtype)
        made = (member_SG / member_SG.sum(0)).t() @ h_MD.view(copies, len(group_S), -1)
        return ((made - self._mean_GD) ** 2).sum(-1).mean() / self._unit

    def per_sample_loss(self, h_ND: torch.Tensor, labels_N: np.ndarray) -> torch.Tensor:  # noqa: ARG002 - features know no label
        """Returns the (N, S) squared distances of each text to each slot's group."""
        import torch

        group_S = torch.from_numpy(self.problem.group_S).to(h_ND.device)
        return self._squares(h_ND, self._mean_GD)[:, group_S] / self._unit

    def split_half_baseline(self, rng: np.random.Generator) -> float:
        """Returns the mean squared distance between the means of two halves of every group's texts."""
        import torch

        from tdbench.api.matching import halves

        groups_N = self.problem.groups.groups_N
        *parts, both = halves(groups_N, rng)
        means = []
        for rows in parts:
            groups = torch.from_numpy(groups_N[rows]).to(self.problem.h.device)
            member_NG = torch.nn.functional.one_hot(groups, len(self.problem.groups)).to(self.problem.h.dtype)
            means.append((member_NG.t() @ self.problem.h[rows])[both] / member_NG.sum(0)[both].unsqueeze(1))
        return float(((means[0] - means[1]) ** 2).sum(-1).mean() / self._unit)

    @staticmethod
    def _squares(a_ND: torch.Tensor, b_MD: torch.Tensor) -> torch.Tensor:
        """Returns the (N, M) squared distances."""
        return ((a_ND**2).sum(1).unsqueeze(1) - 2 * a_ND @ b_MD.t() + (b_MD**2).sum(1)).clamp(min=0)


class _Kernels(_Means):
    """Squared maximum mean discrepancy between the synthetic and the real texts of each class, real against real left out."""

    def __init__(self, problem: MatchingProblem, permuted: bool, rng: np.random.Generator) -> None:
        super().__init__(problem, permuted, rng)
        self._real = []
        for label in range(problem.real.n_classes):
            rows = np.flatnonzero(problem.real.labels_N == (label + permuted) % problem.real.n_classes)
            self._real.append(problem.h[rng.permutation(rows)[:MMD_ROWS].tolist()])

    def of_features(self, h_MD: torch.Tensor, copies: int) -> torch.Tensor:
        """Returns the mean over classes and copies."""
        labels_S, parts = self.problem.labels_S, []
        for h_SD in h_MD.view(copies, len(labels_S), -1):
            for label, real_ND in enumerate(self._real):
                own_BD = h_SD[np.flatnonzero(labels_S == label).tolist()]
                parts.append(self._kernel(own_BD, own_BD).mean() - 2 * self._kernel(own_BD, real_ND).mean())
        return sum(parts[1:], parts[0]) / len(parts)

    def split_half_baseline(self, rng: np.random.Generator) -> float:
        """Returns the mean over classes between half of the real texts in use, in the synthetic ones' place, and the other half."""
        parts = []
        for real_ND in self._real:
            order = rng.permutation(len(real_ND)).tolist()
            made_ND, other_ND = real_ND[order[::2]], real_ND[order[1::2]]
            if len(other_ND):
                parts.append(float(self._kernel(made_ND, made_ND).mean() - 2 * self._kernel(made_ND, other_ND).mean()))
        return float(np.mean(parts)) if parts else float("nan")

    def _kernel(self, a_ND: torch.Tensor, b_MD: torch.Tensor) -> torch.Tensor:
        far = self._squares(a_ND, b_MD) / (2 * self._unit)
        return sum(((-far / scale).exp() for scale in MMD_SCALES[1:]), (-far / MMD_SCALES[0]).exp())
