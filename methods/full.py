"""Full: all rows of the train split, the line that no distilled set is expected to cross."""

from __future__ import annotations

import numpy as np

from tdbench.api import Budget, Context, DistilledSet, LabelledText, Method, MethodCard


class Full(Method):
    """Trains on everything, with more steps (the protocol's `full` entry)."""

    name = "full"
    card = MethodCard(
        summary="All rows of the train split, trained longer.",
        family="reference",
        deterministic=True,
        uses_budget=False,
        full_data=True,
        reference=True,
        role="full",
    )

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:  # noqa: ARG002 - needs neither
        """Returns every row."""
        return DistilledSet.from_rows(real, np.arange(len(real)))
