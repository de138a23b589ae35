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

from bench.data.public import PublicPool
from bench.data.text import LabelledText
from bench.experiment.privacy_record import PublicResource
from bench.testing.texts import small_task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.cost import CostMeter
    from bench.distilled import DistilledSet
    from bench.experiment.privacy_record import PrivacyStatement
    from bench.privacy.private_method import PrivateMethod
    from bench.testing.report import Report

Run = Callable[["PrivateMethod", LabelledText], tuple["DistilledSet", "PrivacyStatement"]]


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
        rows = [sum(map(_direction, one.lower().split()), _direction("")) for one in text.joined()]
        tick(1.0)
        return np.array([row / np.linalg.norm(row) for row in rows], dtype=np.float32)


def _direction(word: str) -> NDArray[np.float64]:
    return np.random.default_rng(zlib.crc32(word.encode())).standard_normal(24)


def small_pool(kind: str) -> PublicPool:
    """Returns public texts beside a small task: test texts of the others, and some of its own."""
    texts = [text for other in ("two classes", "four classes") for text in small_task(other).test.joined()]
    own = [text for column in small_task(kind).test.fields.values() for text in column]
    distinct = tuple(dict.fromkeys(text for pair in zip(texts, own, strict=False) for text in pair))
    return PublicPool(distinct, (PublicResource(name="small texts", sha256="0" * 16, overlap="none"),))


def other_rows(rows: LabelledText) -> LabelledText:
    """Returns as many rows of other texts, other lengths and other class counts."""
    fields = {name: [f"entirely other words {i % 7} " * (1 + i % 3) for i in range(len(rows))] for name in rows.fields}
    labels = np.where(np.arange(len(rows)) < 3 * rows.n_classes, np.arange(len(rows)) % rows.n_classes, 0)
    return LabelledText(fields, labels.astype(np.int64), rows.label_names, rows.row_ids_N + 1)


@dataclass(frozen=True)
class Promise:
    """The checks of one private method on one small task."""

    report: Report
    method: PrivateMethod
    rows: LabelledText
    where: str
    run: Run

    def check(self) -> None:
        """Compares sets of different rows that must be alike, and looks into the books."""
        made, statement = self.run(self.method, self.rows)
        self.report.check(
            not statement.raw_reads,
            f"it reads no row outside of a mechanism ({self.where})",
            f"it asked for the rows themselves ({'; '.join(statement.raw_reads)}); nothing is promised then.",
        )
        self.report.check(
            bool(statement.queries),
            f"it asks about the rows ({self.where})",
            f"it asked nothing at epsilon {self.method.config.epsilon} and made {len(made)} texts; is it private, or only public?",
        )
        for what, options in (("noise alone", {"oracle": "noise-only"}), ("epsilon 0", {"epsilon": 0.0})):
            config = self.method.config.model_copy(update=options)
            blind = type(self.method)(config)
            first, second = (self.run(blind, rows)[0] for rows in (self.rows, other_rows(self.rows)))
            self.report.check(
                _parts(first) == _parts(second),
                f"with {what} the set does not depend on the rows ({self.where})",
                f"other rows gave another set although every answer was {what}: something about the rows reaches the method past the "
                "oracle, such as lengths, class counts, a vocabulary or the rows themselves.",
            )


def _parts(made: DistilledSet) -> list[Any]:
    soft = () if made.soft is None else (made.soft.vectors_SD, made.soft.lengths_MF)
    arrays = (made.labels_M, made.soft_labels_MC, made.weights_M, *soft)
    return [made.fields, *(None if array is None else np.asarray(array).tolist() for array in arrays)]
