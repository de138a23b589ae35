"""Whether a private method keeps to its oracle: what the noise hides must not come out another way.

With `oracle=noise-only` every answer is noise, so a set can depend on public texts and seeds alone. Rows of other texts and other labels
must then give the same set, byte for byte. Whatever a method has read behind the oracle's back shows here: texts, lengths, class counts, a
vocabulary.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tdbench.bench.data.public import PublicPool
from tdbench.bench.data.text import LabelledText
from tdbench.bench.record import PublicResource
from tdbench.bench.testing.texts import content_of, small_task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.context import Context
    from tdbench.bench.cost import CostMeter
    from tdbench.bench.privacy.private_method import PrivateMethod, Release
    from tdbench.bench.testing.report import Report


class HashedEncoder:
    """Sums random directions of a text's words: features that no other text has a part in."""

    identity: dict[str, str | int] = {"kind": "hashed words"}
    rowwise = True

    def embed(
        self,
        text: LabelledText,
        cost: CostMeter,  # noqa: ARG002 - same interface as the transformer
        tick: Callable[[float], None] = lambda _: None,
    ) -> NDArray[np.float32]:
        """Returns (N, 24) float32 features with L2 norm 1."""
        rows = [sum(map(_direction, words.lower().split()), _direction("")) for words in text.joined()]
        tick(1.0)
        return np.array([row / np.linalg.norm(row) for row in rows], dtype=np.float32)


def _direction(word: str) -> NDArray[np.float64]:
    return np.random.default_rng(zlib.crc32(word.encode())).standard_normal(24)


def small_pool(kind: str) -> PublicPool:
    """Returns public texts beside a small task: test texts of the others, and some of its own."""
    others = [text for other in ("two classes", "four classes") for text in small_task(other).test.joined()]
    texts = [text for column in small_task(kind).test.fields.values() for text in column]
    distinct = tuple(dict.fromkeys(text for pair in zip(others, texts, strict=False) for text in pair))
    return PublicPool(distinct, (PublicResource(name="small texts", sha256="0" * 16, overlap="none"),))


def other_rows(rows: LabelledText) -> LabelledText:
    """Returns as many rows that share no word and no length with the given ones, and whose classes are as frequent the other way round."""
    longest = max(len(text.split()) for text in rows.joined())
    fields = {
        name: [f"unheard{i % 7} " * (longest + 1 + i % 3) + name for i in range(len(rows))] for name in rows.fields
    }
    counts = np.bincount(rows.labels_N, minlength=rows.n_classes)
    rank = np.argsort(np.argsort(counts, kind="stable"), kind="stable")
    labels = np.argsort(-counts, kind="stable")[rank][rows.labels_N]  # the commonest class becomes the rarest
    short = np.flatnonzero(labels == labels[0])[: len(rows) // 20]  # and no count stays as it was
    labels[short] = (labels[0] + 1) % rows.n_classes
    return LabelledText(fields, labels.astype(np.int64), rows.label_names, rows.row_ids_N + 1)


@dataclass(frozen=True)
class Outcome:
    """All that came out of a run."""

    release: Release
    ctx: Context

    def parts(self) -> list[Any]:
        """Returns everything that leaves the method's hands, comparable."""
        return [*content_of(self.release.made), self.ctx.diagnostics, self.ctx.curves]


@dataclass(frozen=True)
class Promise:
    """The checks of one private method on one small task."""

    report: Report
    method: PrivateMethod
    rows: LabelledText
    where: str
    run: Callable[[PrivateMethod, LabelledText], Outcome]

    def check(self) -> None:
        """Compares what comes of different rows and must be alike, and looks into the books."""
        statement = self.run(self.method, self.rows).release.statement
        self.report.check(
            not statement.raw_reads,
            f"it reads no row outside of a mechanism ({self.where})",
            f"it asked for the rows themselves ({'; '.join(statement.raw_reads)}); nothing is promised then.",
        )
        exact = self.run(self._with(epsilon="inf"), self.rows)
        blind = self.run(self._with(oracle="noise-only"), self.rows)
        self.report.check(
            bool(statement.queries) and exact.parts() != blind.parts(),
            f"its set depends on the answers ({self.where})",
            "exact answers and noise alone gave the same set; is it private, or only public?",
        )
        for what, options in (("noise alone", {"oracle": "noise-only"}), ("epsilon 0", {"epsilon": 0.0})):
            first, second = (self.run(self._with(**options), rows) for rows in (self.rows, other_rows(self.rows)))
            self.report.check(
                first.parts() == second.parts(),
                f"with {what} nothing depends on the rows ({self.where})",
                f"other rows gave another set, diagnostic or curve although every answer was {what}: something about the rows reaches the "
                "method past the oracle, such as lengths, class counts, a vocabulary, a loss or the rows themselves.",
            )

    def _with(self, **options: Any) -> PrivateMethod:
        return type(self.method)(self.method.config.model_copy(update=options))
