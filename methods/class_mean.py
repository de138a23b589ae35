"""Class means as token vectors: the reference of the learner-bound track."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tdbench.api import Method, MethodCard

if TYPE_CHECKING:
    from tdbench.api import Budget, Context, DistilledSet, LabelledText


class ClassMean(Method):
    """Averages token vectors place by place, over random equal parts of each class: one mean sequence for every part.

    Nothing is optimised: what any free token vectors must beat. A mean sequence is as long as the mean text of its part.
    """

    name = "class-mean"
    card = MethodCard(
        summary="Mean token vectors, place by place, of random parts of each class.",
        family="reference",
        output="embedding",
        reads=("encoder", "source"),
        counts_texts=True,
        role="vectors",
    )

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Averages."""
        from tdbench.api import DistilledSet, SoftInputs
        from tdbench.api.matching import mean_vectors, words_of

        assert budget.per_class is not None
        source, rng = ctx.source(real), ctx.rng("selection")
        vectors, lengths, labels = [], [], []
        with ctx.cost.phase("average"):
            words, table_VE = words_of(source, real), source.table_VE.cpu().numpy()
            for label in range(real.n_classes):
                for part in np.array_split(rng.permutation(real.positions_of_class(label)), budget.per_class):
                    fields = [[words[i][field] for i in part] for field in range(len(real.fields))]
                    means = [mean_vectors(table_VE, texts, _mean_length(texts)) for texts in fields]
                    vectors += means
                    lengths.append([len(mean) for mean in means])
                    labels.append(label)
        soft = SoftInputs(np.concatenate(vectors).astype(np.float32), np.array(lengths), source.name)
        return DistilledSet.from_vectors(soft, labels)


def _mean_length(texts: list[np.ndarray]) -> int:
    return max(1, round(float(np.mean([len(ids) for ids in texts]))))
