"""GRADMM: synthetic texts whose gradients match those of the real texts, kept readable by ADMM (Nguyen et al., 2025)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from pydantic import PositiveInt, model_validator

from tdbench.api import Method, MethodCard, Skip
from tdbench.api.options import SynthesisConfig

Distance = Literal["cosine", "whole", "l2"]
Space = Literal["head", "lora", "all"]

if TYPE_CHECKING:
    import torch

    from tdbench.api import Budget, Context, DistilledSet, LabelledText, Task
    from tdbench.api.matching import HeadGradients, Heads, MatchingProblem, Reading


class GradMM(Method):
    """Matches gradients of linear heads on the frozen source learner.

    The real texts of a class are cut into clusters; each group of `group_size` synthetic texts is fitted to the mean gradient of one
    cluster, at heads that are trained for different numbers of steps. Token vectors are what is optimised; for text, ADMM ties them to
    words that a language model picks among the nearest tokens.
    """

    name = "gradmm"
    card = MethodCard(
        summary="Texts whose head gradients match those of clusters of real texts; ADMM keeps them readable.",
        family="gradient matching",
        paper="Nguyen et al., 2025, Synthetic text generation for training large language models via gradient matching (GRADMM)",
        output=None,
        cost_class="minutes",
        reads=("encoder", "source", "lm"),
        counts_texts=True,
    )

    class Config(SynthesisConfig):
        """Looked for on the development task (rotten_tomatoes); docs/notes/matching-measurements.md says what was compared."""

        target: Literal["class", "permuted", "random"] = "class"
        """Controls: `permuted` takes the next class's texts with this class's label, `random` texts that are noise with the real mean and
        covariance."""
        group_size: PositiveInt = 1
        """Synthetic texts whose mean gradient is matched; as large as the budget, it is the published matching of whole classes."""
        heads: PositiveInt = 4
        """Heads at which gradients are matched; the first is untrained."""
        head_steps: PositiveInt = 200
        """Longest training of a head."""
        distance: Distance = "cosine"
        """1 - cosine of each tensor, of all in one, or the squared distance."""
        space: Space = "head"
        """Weights whose gradients are matched: the head's, those of adapters on the attention as well, or all. The larger two need
        real token ids, so not target=random, and are slower by far; use larger groups."""
        real_per_group: PositiveInt = 64
        """Real texts of a group whose gradients are averaged where space is not head."""

        form: Literal["head", "prompt"] = "head"
        """Linear heads on the source learner; or, as published, a causal language model that is asked for the class: the gradients of
        its vocabulary's weights at the place behind the template. Then `lm` makes the texts readable, too."""
        lm: str = "task-lm"
        """Language model, with form=prompt: gpt2, phi-1_5, or hf:<id or folder>."""
        template: str = " It was "
        """Behind every text, with form=prompt (the paper's, for SST-2)."""
        label_words: tuple[str, ...] = ()
        """Words that name the classes behind the template; the task's label names where there are none."""
        prompt: str = "A {label} text: "
        """What texts of a class are generated behind, with form=prompt."""

        @model_validator(mode="after")
        def _fits_together(self) -> GradMM.Config:
            if self.space != "head" and self.target == "random":
                raise ValueError(
                    "target=random draws head inputs, which have no gradient below the head; use space=head"
                )
            if self.space != "head" and self.outer == 0:
                raise ValueError(
                    f"space={self.space} is matched by steps on token vectors, and outer is 0; use space=head"
                )
            if (self.form == "prompt") != (self.lm != "task-lm"):
                raise ValueError("form=prompt and a pretrained lm go together; give both, or neither")
            if self.encoders > 1 and (self.form == "prompt" or self.space != "head"):
                raise ValueError("several encoders match gradients of linear heads; use form=head and space=head")
            plain = self.output == "text" and self.space == "head"
            if self.form == "prompt" and (not plain or self.real_per_class is None):
                raise ValueError("form=prompt needs output=text, space=head, and real_per_class (paper: 3 to 25)")
            return self

    def supports(self, task: Task, budget: Budget) -> Skip | None:
        """Needs to know the number of groups beforehand, and a word for every class."""
        words, names = self.config.label_words, task.label_names
        if words and len(words) != len(names):
            return Skip(
                f"gradmm has {len(words)} label words, {task.name} has {len(names)} classes; give method.label_words"
            )
        return super().supports(task, budget)

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Takes the real gradients, and fits texts to them."""
        from tdbench.api.matching import encoder_ensemble, make_problem, subsample, synthesise

        assert budget.per_class is not None
        config, lm, source = self.config, None, None
        real = subsample(real, config.real_per_class, ctx)
        if config.form == "prompt":
            source = ctx.asked(real, config.lm, config.template)
            lm = ctx.prompted_lm(config.lm, config.prompt, self._words(real))
        problem = make_problem(real, budget.per_class, config.group_size, ctx, source)
        with ctx.cost.phase("target"):
            goal = encoder_ensemble(problem, config, ctx, lambda one: self._goal(one, ctx))
        return synthesise(problem, goal, config, ctx, lm)

    def _words(self, real: LabelledText) -> tuple[str, ...]:
        """Returns what names the classes in words."""
        return self.config.label_words or tuple(name.lower() for name in real.label_names)

    def _goal(self, problem: MatchingProblem, ctx: Context) -> _Gradients | _Weights:
        """Trains the heads and takes the gradients to be matched."""
        import torch

        from tdbench.api.matching import head_gradients, random_texts, trained_heads
        from tdbench.api.training import label_tokens

        groups, config = problem.groups, self.config
        targets_NC, tokens = problem.one_hot(problem.real.labels_N), None
        if config.form == "prompt":
            heads = problem.source.own_head(len(groups))
            tokens = label_tokens(problem.source.tokenizer, self._words(problem.real), config.template)
        else:
            heads = trained_heads(problem.h, targets_NC, config.heads, config.head_steps, ctx.rng("heads"))
        shares = _Shares(heads.bias_KC.shape[1], tokens, problem)
        groups_N = torch.from_numpy(groups.groups_N).to(ctx.device)
        h_ND = random_texts(problem.h, ctx.torch_seed("target")) if config.target == "random" else problem.h
        labels_N = problem.real.labels_N
        if config.target == "permuted":  # the next class's texts, but this class's label
            n_classes, shift = problem.real.n_classes, len(groups) // problem.real.n_classes
            labels_N, groups_N = (labels_N - 1) % n_classes, (groups_N - shift) % len(groups)
        target = _Target(h_ND, shares(labels_N), groups_N)
        own = head_gradients(heads, h_ND, target.targets_NC, groups_N, len(groups))
        goal = _Gradients(problem, heads, own, target, shares, distance=config.distance)
        return goal if config.space == "head" else _Weights(goal, config, ctx)


class _Shares:
    """From classes to what the heads should put out: one output a class, or the token of the class's word."""

    def __init__(self, n_outputs: int, tokens: list[int] | None, problem: MatchingProblem) -> None:
        self._n_outputs, self._problem = n_outputs, problem
        self._tokens = np.arange(n_outputs) if tokens is None else np.array(tokens)

    def __call__(self, labels_N: np.ndarray) -> torch.Tensor:
        """Returns (N, outputs)."""
        import torch

        outputs = torch.from_numpy(self._tokens[labels_N]).to(self._problem.source.device)
        return torch.nn.functional.one_hot(outputs, self._n_outputs).float()


class _Target(NamedTuple):
    """The texts whose gradients are matched. Shapes: N texts, D head inputs, C classes."""

    h_ND: torch.Tensor
    targets_NC: torch.Tensor
    groups_N: torch.Tensor


class _Gradients:
    """The objective: distance of mean gradients, group by group. Shapes: N target texts, M fitted ones."""

    def __init__(
        self,
        problem: MatchingProblem,
        heads: Heads,
        gradients: HeadGradients,
        target: _Target,
        shares: _Shares,
        *,
        distance: Distance,
    ) -> None:
        self.problem, self.heads, self.gradients, self.target, self.shares = problem, heads, gradients, target, shares
        self.distance: Distance = distance
        self._goals: dict[int, HeadGradients] = {}

    def loss(self, read: Reading, copies: int) -> torch.Tensor:
        """Returns the mean distance over heads, groups and copies."""
        return self.of_features(read.h_MD, copies)

    def of_features(self, h_MD: torch.Tensor, copies: int) -> torch.Tensor:
        """Returns the same for head inputs."""
        import torch

        from tdbench.api.matching import distances

        if copies == 1:
            self._goals[1] = self.gradients
        if copies not in self._goals:
            self._goals[copies] = self.gradients.take(torch.arange(len(self.problem.groups)).repeat(copies))
        goal = self._goals[copies]
        groups_M, targets_MC = self.places(copies)
        return distances(goal, self.heads, h_MD, targets_MC, groups_M, distance=self.distance).mean()

    def places(self, copies: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the (M,) groups, counted through all copies, and the (M, C) class shares of the fitted texts."""
        import torch

        problem, n_groups = self.problem, len(self.problem.groups)
        groups_M = np.concatenate([problem.group_S + copy * n_groups for copy in range(copies)])
        return torch.from_numpy(groups_M).to(self.target.h_ND.device), self.shares(np.tile(problem.labels_S, copies))

    def per_sample_loss(self, h_ND: torch.Tensor, labels_N: np.ndarray) -> torch.Tensor:
        """Returns the (N, S) distances of each text's own gradient to that of each slot's group."""
        import torch

        from tdbench.api.matching import every_distance

        targets_NC = self.shares(labels_N)
        far_NG = every_distance(self.gradients, self.heads, h_ND, targets_NC, distance=self.distance)
        return far_NG[:, torch.from_numpy(self.problem.group_S).to(far_NG.device)]

    def split_half_baseline(self, rng: np.random.Generator) -> float:
        """Returns the mean distance between the gradients of two halves of every group's texts."""
        from tdbench.api.matching import gradient_distances, halves, head_gradients

        h_ND, targets_NC, groups_N = self.target
        *parts, both = halves(groups_N.cpu().numpy(), rng)
        made, other = (
            head_gradients(self.heads, h_ND[rows], targets_NC[rows], groups_N[rows], len(self.problem.groups))
            for rows in parts
        )
        return float(gradient_distances(other, made, self.distance)[:, both].mean())


class _Weights:
    """The objective in a larger space: gradients of weights below the head too. Texts that stand alone are still judged by the head's."""

    def __init__(self, goal: _Gradients, config: GradMM.Config, ctx: Context) -> None:
        from tdbench.api.matching import WeightGradients

        self._goal, self._per_group = goal, config.real_per_group
        self._model = WeightGradients(goal.problem.source, goal.heads, config.space, ctx.torch_seed("adapters"))
        self._real = self._of_real(np.arange(len(goal.target.groups_N)), ctx.rng("drawn texts"))

    def loss(self, read: Reading, copies: int) -> torch.Tensor:
        """Returns the mean distance over heads, groups and copies."""
        groups_M, targets_MC = self._goal.places(copies)
        real = [per_group * copies for per_group in self._real]
        return self._model.distances(
            real,
            read.encoded,
            read.x_SE,
            targets_MC=targets_MC,
            groups_M=groups_M.cpu().numpy(),
            distance=self._goal.distance,
        ).mean()

    @property
    def problem(self) -> MatchingProblem:
        """What it was built for."""
        return self._goal.problem

    def per_sample_loss(self, h_ND: torch.Tensor, labels_N: np.ndarray) -> torch.Tensor:
        """Returns the (N, S) distances of each text's own head gradient to that of each slot's group."""
        return self._goal.per_sample_loss(h_ND, labels_N)

    def split_half_baseline(self, rng: np.random.Generator) -> float:
        """Returns the mean distance between the gradients of two halves of the drawn texts of every group."""
        import torch

        from tdbench.api.matching import between, halves

        first, second, both = halves(self._goal.target.groups_N.cpu().numpy(), rng)
        if len(both) == 0:
            return float("nan")
        made, other = (self._of_real(rows, rng) for rows in (first, second))
        distance = self._goal.distance
        each = [between(a[g], b[g], distance) for a, b in zip(made, other, strict=True) for g in both]
        return float(torch.stack(each).mean())

    def _of_real(self, among_N: np.ndarray, rng: np.random.Generator) -> list[list[tuple[torch.Tensor, ...]]]:
        """Takes the real gradients over a draw of every group's texts."""
        order, n_groups = rng.permutation(among_N), len(self._goal.problem.groups)
        groups_N = self._goal.target.groups_N.cpu().numpy()
        rows = np.concatenate([order[groups_N[order] == g][: self._per_group] for g in range(n_groups)])
        real = self._goal.problem.real.take(rows)
        encoded, targets_NC = self._goal.problem.source.tokenise(real), self._goal.target.targets_NC[rows]
        return self._model.of_texts(encoded, targets_NC, groups_N[rows], n_groups)
