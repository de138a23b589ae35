"""Bag of words with logistic regression: the learner that needs no weights and no learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tdbench.api import LabelledText, Learner, LearnerConfig, Recipe, TrainingSet
from tdbench.bench.budget import WORD_PATTERN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.training.training_set import TrainContext


class BowLogReg(Learner):
    """TF-IDF of words and word pairs, then L2-regularised logistic regression (scikit-learn)."""

    name = "bow-logreg"
    uses_lr = False

    class Config(LearnerConfig):
        """Customary values; not tuned."""

        inverse_regularisation: float = 10.0
        """scikit-learn's C."""
        max_ngram: int = 2

    def fit_predict(
        self,
        train: TrainingSet,
        test: LabelledText,
        recipe: Recipe,  # noqa: ARG002 - a convex fit has no steps
        ctx: TrainContext,
    ) -> NDArray[np.float32]:
        """Fits on the distilled texts; soft labels count as weighted copies of a text, one for each class."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        n_classes = train.targets_MC.shape[1]
        with ctx.cost.phase("train"):
            vectoriser = TfidfVectorizer(
                sublinear_tf=True, ngram_range=(1, self.config.max_ngram), token_pattern=WORD_PATTERN.pattern
            )
            try:
                features = vectoriser.fit_transform(train.text.joined())
            except ValueError:  # empty vocabulary: no text has a word
                ctx.notes.append("no words in the distilled texts: predicts the prior")
                prior = (train.targets_MC * train.weights_M[:, None]).mean(axis=0)
                return np.tile(prior.astype(np.float32), (len(test), 1))
            copies, labels = np.nonzero(train.targets_MC > 0)
            weights = train.targets_MC[copies, labels] * train.weights_M[copies]
            model = LogisticRegression(C=self.config.inverse_regularisation, max_iter=2_000)
            model.fit(features[copies], labels, sample_weight=weights)
        with ctx.cost.phase("predict"):
            scores = np.full((len(test), n_classes), -np.inf, dtype=np.float32)
            scores[:, model.classes_] = model.predict_log_proba(vectoriser.transform(test.joined()))
        ctx.tick(1.0)
        return scores
