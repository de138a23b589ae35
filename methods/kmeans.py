"""K-means medoids: the rows nearest to the centroids of each class (called K-centers by DiLM, Maekawa et al., 2024)."""

from __future__ import annotations

from tdbench.api import Budget, Context, DistilledSet, LabelledText, Method, MethodCard, kmeans_rows


class KMeansMedoids(Method):
    """K-means++, one start per class, in the source encoder's feature space; then the nearest row of each centroid."""

    name = "kmeans"
    card = MethodCard(
        summary="Rows nearest to the K-means centroids of each class.",
        family="coreset",
        paper="Maekawa et al., 2024, DiLM (there called K-centers)",
        reads=("encoder",),
        counts_texts=True,
        role="kmeans",
    )

    def distil(self, real: LabelledText, budget: Budget, ctx: Context) -> DistilledSet:
        """Clusters each class."""
        features_ND, rng = ctx.encoder().embed(real), ctx.rng("selection")
        with ctx.cost.phase("select"):
            chosen = kmeans_rows(features_ND, real, budget, rng)
        return DistilledSet.from_rows(real, chosen)
