"""What must hold before an audit may be believed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tdbench.bench.canonical import seed_from
from tdbench.bench.errors import DataError
from tdbench.bench.privacy.statistics import estimate_auc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.privacy.pool import Pool

BLIND_FOLDS = 5
BLIND_LEVEL = 0.99


@dataclass(frozen=True)
class Blind:
    """How well members are told apart without any set; of several runs, where it went best."""

    auc: float
    low: float
    high: float
    """99 % interval, for as many runs as were tried."""


def blind_auc(pool: Pool, members_SG: NDArray[np.bool_]) -> Blind:
    """Returns how well a classifier of words and word pairs tells members from non-members without seeing any set.

    TF-IDF and logistic regression, 5 folds over groups; the mean of the folds' AUCs, because scores of different folds do not compare.

    Args:
        pool: Candidates.
        members_SG: Members of every run; complements need not be tried.
    """
    from scipy import stats

    tried = [_blind(pool, members_G.tobytes()) for members_G in members_SG]
    level = 1 - (1 - BLIND_LEVEL) / len(tried)
    half = float(stats.norm.ppf((1 + level) / 2))
    mean, error = max(tried, key=lambda one: (one[0] - 0.5) / one[1])
    return Blind(mean, mean - half * error, mean + half * error)


@lru_cache(maxsize=64)
def _blind(pool: Pool, members: bytes) -> tuple[float, float]:
    """Returns one run's AUC and its error; all methods of a task share them."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    members_G = np.frombuffer(members, dtype=bool)
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
        folds.append(estimate_auc(scores[None], members_G[held][None], [0]))
    error = float(np.sqrt(sum(one.se**2 for one in folds))) / BLIND_FOLDS
    return float(np.mean([one.auc for one in folds])), error


def check_blind(found: Blind) -> None:
    """Refuses an audit whose members can be told without looking at any set; telling them worse than chance is chance.

    Raises:
        DataError: Says what was found.
    """
    if found.low > 0.5:
        raise DataError(
            f"a classifier that sees no released set tells members from non-members (AUC {found.auc:.3f}, 99 % interval "
            f"[{found.low:.3f}, {found.high:.3f}]); an attack's AUC would measure how the two were chosen. Draw members at random "
            "from one pool; where the suite has drawn them, take another audit.pool_rows."
        )
