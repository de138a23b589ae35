"""Whether texts say what their labels say, by a classifier of words that had no part in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tdbench.bench.budget import WORD_PATTERN
from tdbench.bench.canonical import seed_from

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.data.text import LabelledText

BUCKETS, LONGEST_NGRAM = 2**18, 2
REGULARISATION, EPOCHS = 1e-6, 10


class WordClassifier:
    """TF-IDF of hashed words and word pairs with averaged logistic regression (scikit-learn), trained on all of a train split.

    Args:
        train: The train split.
    """

    def __init__(self, train: LabelledText) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
        from sklearn.linear_model import SGDClassifier

        self._words = HashingVectorizer(
            n_features=BUCKETS,
            ngram_range=(1, LONGEST_NGRAM),
            alternate_sign=False,
            norm=None,  # pyright: ignore[reportArgumentType] - no norm, as documented
            token_pattern=WORD_PATTERN.pattern,
        )
        self._weights: Any = TfidfTransformer(sublinear_tf=True)
        self._model = SGDClassifier(
            loss="log_loss",
            alpha=REGULARISATION,
            max_iter=EPOCHS,
            tol=None,  # pyright: ignore[reportArgumentType] - all epochs, as documented
            average=True,
            random_state=seed_from("word-classifier") % 2**32,
        )
        self._model.fit(self._weights.fit_transform(self._words.transform(train.joined())), train.labels_N)

    def agrees(self, text: LabelledText) -> NDArray[Any]:
        """Tells which of N texts get the label that they bear."""
        features = self._weights.transform(self._words.transform(text.joined()))
        return self._model.predict(features) == text.labels_N
