"""Scores a distilled set that was made elsewhere: the set takes the place of a method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tdbench.bench.canonical import content_id
from tdbench.bench.card import MethodCard, MethodConfig
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.method import Method

if TYPE_CHECKING:
    from tdbench.bench.budget import Budget
    from tdbench.bench.context import Context
    from tdbench.bench.data.text import LabelledText


class External(Method):
    """Hands over a set that already exists. Its cost, and how it was chosen, are unknown."""

    name = "external"
    card = MethodCard(
        summary="A distilled set read from a file.",
        family="external",
        output="text",
        deterministic=True,
        external=True,
    )

    class Config(MethodConfig):
        """Which set."""

        name: str
        """Its name in tables."""
        content: str
        """Hash of its texts, labels and weights."""

    def __init__(self, made: DistilledSet, label: str) -> None:
        super().__init__(self.Config(name=label, content=content_of(made)))
        self._made = made

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:  # noqa: ARG002 - it exists already
        """Returns the set."""
        return self._made


def content_of(made: DistilledSet) -> str:
    """Returns a hash of a set's texts, labels and weights."""
    arrays: dict[str, Any] = {"labels": made.labels_M, "soft": made.soft_labels_MC, "weights": made.weights_M}
    return content_id([made.fields, {k: None if v is None else v.tolist() for k, v in arrays.items()}])
