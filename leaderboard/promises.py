"""What differentially private rows promise, in words and numbers."""

from __future__ import annotations

from collections.abc import Iterable

from tdbench.bench.record import DistilResult, PrivacyStatement, PrivateQuery
from tdbench.leaderboard.privacy_fields import PromiseFields

NO_PROMISE: PromiseFields = {"delta": None, "epsilon_all_sets": None, "promise": "", "released": ""}


def promise_fields(results: Iterable[DistilResult | None]) -> PromiseFields:
    """Writes down the weakest of the sets' promises, and what all sets together cost.

    Args:
        results: Of a row's sets; None for those that failed.
    """
    asked = list(results)
    found = [one.privacy for one in asked if one is not None and one.privacy is not None]
    if not found:
        return NO_PROMISE
    weakest = max(found, key=lambda one: (float(one.epsilon), one.epsilon_spent or 0.0))
    together = _of_sets(weakest, len(asked))  # one that failed may have asked its questions
    return {
        "delta": weakest.delta,
        "epsilon_all_sets": together,
        "promise": _sentence(weakest, len(asked), together),
        "released": ", ".join(dict.fromkeys(part for one in found for part in one.released)),
    }


def _of_sets(said: PrivacyStatement, count: int) -> float | None:
    """Returns epsilon of so many sets together; an upper bound by the next larger number that is known."""
    if said.epsilon_spent is None:
        return None
    known = {1: said.epsilon_spent, **said.epsilon_of_sets}
    larger = [n for n in known if n >= count]
    return known[min(larger)] if larger else None


def _sentence(said: PrivacyStatement, count: int, together: float | None) -> str:
    queries = "; ".join(_query(one) for one in said.queries) or "no question about the rows"
    parts = ["CONTROL: every answer is the noise alone"] if said.oracle == "noise-only" else []
    parts += [_claim(said, count, together), f"Number of rows, public: {said.n_rows:,}", f"Asked: {queries}"]
    parts += [f"Rows were read outside of any mechanism: {reason}" for reason in said.raw_reads]
    parts += [f"Public: {one.name} ({one.sha256[:16]}; overlap: {one.overlap})" for one in said.public]
    return ". ".join([*parts, f"Noise: {said.noise}"]) + "."


def _claim(said: PrivacyStatement, count: int, together: float | None) -> str:
    unit = f"adding or removing one {'row' if said.group == 1 else f'group of {said.group} rows'} of the train split"
    if said.epsilon == "inf":
        return f"No promise: epsilon is infinite under {unit}"
    spent = "" if said.epsilon_spent is None else f", spent {said.epsilon_spent:.3f}"
    check = "" if said.epsilon_check is None else f", checked {said.epsilon_check:.3f}"
    by = f" ({'; '.join(said.accountants)})" if said.accountants else ""
    all_sets = "" if together is None or count == 1 else f"; all {count} sets together {together:.2f}"
    return f"Epsilon {said.epsilon:g} at delta {said.delta:.2g} under {unit}{spent}{check}{by}{all_sets}"


def _query(one: PrivateQuery) -> str:
    times = f"{one.steps} time{'s' if one.steps != 1 else ''}"
    which = "of all rows (q = 1)" if one.rate == 1 else f"of Poisson samples (q = {one.rate:.4g})"
    measure = "scale" if one.mechanism == "laplace" else "sigma"
    noise = f"noise of {measure} {one.noise_multiplier:.3f} times that" if one.noise_multiplier else "no noise"
    return f"'{one.name}' {times}, {one.mechanism}, sums {which}, sensitivity (clipping norm) {one.sensitivity:.3g}, {noise}"
