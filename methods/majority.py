"""Majority: what a model scores that has seen only the most frequent class."""

from __future__ import annotations

import numpy as np

from tdbench.api import Budget, Context, DistilledSet, LabelledText, Method, MethodCard


class Majority(Method):
    """One text of the most frequent class; a set with a single class trains the constant predictor."""

    name = "majority"
    card = MethodCard(
        summary="Predicts the most frequent class.",
        family="reference",
        deterministic=True,
        uses_budget=False,
        reference=True,
        role="majority",
    )

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:  # noqa: ARG002 - needs neither
        """Takes the first row of the most frequent class (the lowest id wins a tie)."""
        label = int(np.bincount(real.labels_N, minlength=real.n_classes).argmax())
        return DistilledSet.from_rows(real, real.positions_of_class(label)[:1])
