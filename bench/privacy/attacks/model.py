"""Model MIA: the attacker sees a model trained on the set. Shapes: S runs, R candidates, Z population texts, C classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tdbench.bench.privacy.released import less_references, references_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

HEADLINE = "logit-difference"
RMIA_A = 0.3
"""How far p(out) stands for p: p = ((1 + a) p(out) + 1 - a) / 2 (Zarifzadeh et al., 2024, offline)."""
_SMALLEST = 1e-12


def true_class_log(scores_NC: NDArray[np.float32], labels_N: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Returns the (N,) log-probabilities of each text's own class, and of all other classes together.

    Args:
        scores_NC: Logits, or log-probabilities.
        labels_N: Own classes.
    """
    from scipy.special import logsumexp

    scores = np.asarray(scores_NC, dtype=np.float64)
    # A class that the set lacks may score minus infinity everywhere.
    log_NC = np.maximum(scores - logsumexp(scores, axis=1, keepdims=True), np.log(_SMALLEST))
    own_N = np.take_along_axis(log_NC, labels_N[:, None], axis=1)[:, 0]
    others_NC = log_NC.copy()
    np.put_along_axis(others_NC, labels_N[:, None], -np.inf, axis=1)
    return own_N, logsumexp(others_NC, axis=1)


def model_scores(
    own_TR: Floats, others_TR: Floats, population_TZ: Floats, members_SR: NDArray[np.bool_], pairs_S: Sequence[int]
) -> dict[str, Floats]:
    """Runs all attacks on all targets; every run is a target, and a reference for the runs of other pairs.

    Args:
        own_TR: Log-probability of each candidate's own class under each target's model: the S runs, and the null run where there is one.
        others_TR: Log-probability of the other classes together.
        population_TZ: The former for population texts.
        members_SR: Which candidates each run saw.
        pairs_S: Pair of complementary runs that each run belongs to.

    Returns:
        Attack -> (T, R) scores: `loss` (Yeom et al., 2018), and where there are at least two pairs `logit-difference`, the headline
        (log-odds less the mean of the references', of which half saw the candidate), and `rmia` (Zarifzadeh et al., 2024, offline).
    """
    found = {"loss": own_TR}
    if len(set(pairs_S)) < 2:
        return found
    p_TR, p_TZ = np.exp(own_TR), np.exp(population_TZ)
    ratios = []
    for target in range(len(own_TR)):
        refs = references_of(target, pairs_S)
        out_R = _mean_out(p_TR[refs], members_SR[refs])
        ratios.append(_rmia(p_TR[target], p_TZ[target], out_R, p_TZ[refs].mean(axis=0)))
    return {HEADLINE: less_references(own_TR - others_TR, pairs_S), **found, "rmia": np.array(ratios)}


def _mean_out(p_SR: Floats, members_SR: NDArray[np.bool_]) -> Floats:
    """Averages over the references that did not see a candidate; pairs are complementary, so there is always one."""
    return np.where(members_SR, 0.0, p_SR).sum(axis=0) / (~members_SR).sum(axis=0)


def _rmia(p_R: Floats, p_Z: Floats, out_R: Floats, out_Z: Floats) -> Floats:
    """Returns the share of population texts that a candidate's likelihood ratio exceeds."""

    def ratio(p: Floats, out: Floats) -> Floats:
        return p / (((1 + RMIA_A) * out + 1 - RMIA_A) / 2)

    return np.searchsorted(np.sort(ratio(p_Z, out_Z)), ratio(p_R, out_R), side="left") / len(p_Z)
