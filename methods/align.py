"""Distribution alignment: of a pool of texts, those whose mean in a kernel's feature space is that of the real texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, PositiveInt, field_serializer, field_validator

from tdbench.api import DistilledSet, LabelledText, Method, MethodCard, MethodConfig, Schema, UsageError, sha256_file

if TYPE_CHECKING:
    from tdbench.api import Budget, Context

OWN_POOLS = ("task-lm", "real")
MOST_ROWS = 2_000
"""Real rows of a class that are chosen from."""


class Align(Method):
    """The third step of SynAlign (Ren et al., 2025) by itself, class by class: convex weights or kernel herding under the least MMD.

    What is known of the paper's step leaves the kernel open; a linear one would match means alone, so it is a mean of three Gaussian
    kernels around the median distance. Herding chooses a few texts better than drawing from the weights does, and is the default.
    """

    name = "align"
    card = MethodCard(
        summary="Texts of a language model's samples, chosen such that their distribution is nearest to the real one (MMD).",
        family="LLM",
        paper="Ren et al., 2025, SynAlign (its alignment); Chen et al., 2010, Kernel herding",
        output="text",
        cost_class="minutes",
        reads=("encoder", "source", "lm"),
        counts_texts=True,
    )

    class Config(MethodConfig):
        """Options."""

        pool: str = "task-lm"
        """Samples of the task's own decoder; `real`, the train split's rows; or a file of texts and labels (.jsonl, .csv, .parquet)."""
        over: PositiveInt = 20
        """Samples of the task's own decoder for each text wanted."""
        reduce: Literal["herding", "resample", "kmeans", "none"] = "herding"
        """`resample` draws from the weights, as published; `kmeans` takes medoids and `none` the first texts of the same pool."""
        top_p: float = Field(default=0.95, gt=0, le=1)
        """Share of the probability that is sampled from."""

        @field_validator("pool")
        @classmethod
        def _is_a_pool(cls, value: str) -> str:
            if value not in OWN_POOLS and not Path(value).is_file():
                raise ValueError(f"expected {', '.join(OWN_POOLS)} or a file that exists")
            return value

        @field_serializer("pool")
        def _by_content(self, value: str) -> str:
            """A file is told by its content, so that records say nothing of the machine."""
            return value if value in OWN_POOLS else f"file:{sha256_file(Path(value))[:16]}"

        @property
        def idle(self) -> frozenset[str]:
            """Options of sampling, where nothing is sampled."""
            return frozenset() if self.pool == "task-lm" else frozenset(("over", "top_p"))

    @property
    def output(self) -> Literal["rows", "text"]:
        """Rows, where the pool is real."""
        return "rows" if self.config.pool == "real" else "text"

    @property
    def external(self) -> bool:
        """Where the pool is a file: nobody knows what it cost."""
        return self.config.pool not in OWN_POOLS

    @property
    def writes(self) -> bool:
        """Nothing, where the pool is real."""
        return self.config.pool != "real"

    @property
    def reads(self) -> tuple[str, ...]:
        """Features alone, where the pool is real."""
        return ("encoder",) if self.config.pool == "real" else self.card.reads

    @property
    def uses_task_lm(self) -> bool:
        """Only to sample the pool."""
        return self.config.pool == "task-lm"

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Makes the pool, measures it against the real texts, chooses."""
        assert budget.per_class is not None
        if self.config.pool == "real":
            real_ND = ctx.encoder().embed(real)
            return DistilledSet.from_rows(real, self._rows(real, real_ND, budget.per_class, ctx))
        pool = self._pool(real, budget.per_class, ctx)
        real_ND, pool_MD = ctx.encoder().embed_both(real, pool)
        with ctx.cost.phase("select"):
            kept = self._chosen(pool_MD, pool.labels_N, real, real_ND, per_class=budget.per_class, ctx=ctx)
        rows = pool.take(kept)
        return DistilledSet.from_texts(rows.fields, rows.labels_N)

    def _rows(self, real: LabelledText, real_ND: np.ndarray, per_class: int, ctx: Context) -> np.ndarray:
        of_class = [
            ctx.rng(f"pool {label}").permutation(real.positions_of_class(label))[:MOST_ROWS]
            for label in range(real.n_classes)
        ]
        rows = np.concatenate(of_class)
        with ctx.cost.phase("select"):
            return rows[self._chosen(real_ND[rows], real.labels_N[rows], real, real_ND, per_class=per_class, ctx=ctx)]

    def _pool(self, real: LabelledText, per_class: int, ctx: Context) -> LabelledText:
        """Samples a pool, or reads it; class after class."""
        from tdbench.api import read_set
        from tdbench.api.matching import text_of

        if self.config.pool != "task-lm":
            schema = Schema(tuple(real.fields), real.label_names)
            pool_set, _ = read_set(Path(self.config.pool), schema)
            fields, labels_M = pool_set.fields or {}, pool_set.labels_M
            counts = np.bincount(labels_M, minlength=real.n_classes)
            if counts.min() < per_class:
                raise UsageError(
                    f"method.pool holds {counts.min()} texts of class '{real.label_names[counts.argmin()]}'; {per_class} are wanted."
                )
        else:
            source = ctx.source(real)
            lm = ctx.task_lm(real, source)
            with ctx.cost.phase("sample"):
                labels_M = np.repeat(np.arange(real.n_classes), self.config.over * per_class)
                words = lm.writer(len(real.fields), self.config.top_p)(labels_M, ctx.torch_seed("samples"))
                fields = text_of(source, list(real.fields), words)
        pool = LabelledText(fields, labels_M, real.label_names, np.arange(len(labels_M)))
        return pool.take(np.argsort(labels_M, kind="stable"))

    def _chosen(
        self,
        pool_MD: np.ndarray,
        labels_M: np.ndarray,
        real: LabelledText,
        real_ND: np.ndarray,
        *,
        per_class: int,
        ctx: Context,
    ) -> np.ndarray:
        from tdbench.api.matching import choose_aligned

        return choose_aligned(
            pool_MD, labels_M, real_ND, real.labels_N, per_class=per_class, reduce=self.config.reduce, ctx=ctx
        )
