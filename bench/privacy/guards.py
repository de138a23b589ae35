"""What must hold before an audit may be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.canonical import seed_from
from bench.errors import DataError
from bench.privacy.statistics import AucEstimate, estimate_auc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.privacy.pool import Pool

BLIND_FOLDS = 5
BLIND_LEVEL = 0.99


def blind_auc(pool: Pool, members_G: NDArray[np.bool_]) -> AucEstimate:
    """Returns how well a classifier of words and word pairs tells members from non-members without seeing any set.

    TF-IDF and logistic regression, 5 folds over groups; the mean of the folds' AUCs, because scores of different folds do not compare.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    _, first = np.unique(pool.group_R, return_index=True)
    texts = np.array(pool.rows.take(first).joined(), dtype=object)
    fold_G = np.random.default_rng(seed_from(pool.seed, "folds")).permutation(len(texts)) % BLIND_FOLDS
    folds = []
    for fold in range(BLIND_FOLDS):
        held = fold_G == fold
        classifier: Any = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10.0, max_iter=1000)
        )
        classifier.fit(texts[~held], members_G[~held])
        scores = classifier.decision_function(texts[held])
        folds.append(estimate_auc(scores[None], members_G[held][None], [0], BLIND_LEVEL))
    mean = float(np.mean([one.auc for one in folds]))
    half = float(np.sqrt(sum(((one.high - one.low) / 2) ** 2 for one in folds))) / BLIND_FOLDS
    error = float(np.sqrt(sum(one.se**2 for one in folds))) / BLIND_FOLDS
    return AucEstimate(mean, mean - half, mean + half, error, float("nan"), tuple(one.auc for one in folds))


def check_blind(found: AucEstimate) -> None:
    """Refuses an audit whose members can be told without looking at any set.

    Raises:
        DataError: Says what was found.
    """
    if found.low > 0.5:
        raise DataError(
            f"a classifier that sees no released set tells members from non-members (AUC {found.auc:.3f}, 99 % interval "
            f"[{found.low:.3f}, {found.high:.3f}]); an attack's AUC would measure how the two were chosen. Draw members at random "
            "from one pool."
        )
