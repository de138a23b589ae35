"""Sentence features for selection and matching methods, computed once per data set and cached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tdbench.bench.canonical import content_id
from tdbench.bench.cost import CostMeter, share
from tdbench.bench.data.text import LabelledText
from tdbench.bench.kept import kept

if TYPE_CHECKING:
    from numpy.typing import NDArray

TFIDF_DIMENSIONS = 128
TFIDF_VERSION = 1
FEATURES_VERSION = 2
"""Raised whenever the same weights and texts give other features; part of the ids of sets that were made with them."""


class Encoder(Protocol):
    """Maps N texts to unit-length features."""

    identity: dict[str, str | int]
    """Everything that decides the features besides the texts."""
    rowwise: bool
    """Whether a text's features do not depend on the texts beside it."""

    def embed(
        self, text: LabelledText, cost: CostMeter, tick: Callable[[float], None] = lambda _: None
    ) -> NDArray[np.float32]:
        """Returns (N, D) float32 features with L2 norm 1; `tick` receives the finished fraction."""
        ...


class CachedEncoder:
    """Keeps features on disk under a key made of the encoder and the exact rows; a hit charges the cold cost.

    Args:
        inner: The encoder that computes.
        folder: Cache folder, shared by concurrent runs.
    """

    def __init__(self, inner: Encoder, folder: Path) -> None:
        self.identity, self.rowwise = inner.identity, getattr(inner, "rowwise", False)
        self._inner = inner
        self._folder = folder

    def embed(
        self, text: LabelledText, cost: CostMeter, tick: Callable[[float], None] = lambda _: None
    ) -> NDArray[np.float32]:
        """Returns (N, D) float32 features with L2 norm 1."""
        if isinstance(self._inner, TransformerEncoder):
            return _unit(self.pooled(text, cost, tick))
        return self._kept(text, self._inner.embed, cost, tick)

    def pooled(
        self, text: LabelledText, cost: CostMeter, tick: Callable[[float], None] = lambda _: None
    ) -> NDArray[np.float32]:
        """Returns the (N, D) features of a transformer as they are pooled, of any length; one entry serves both kinds."""
        assert isinstance(self._inner, TransformerEncoder)
        return self._kept(text, self._inner.pooled, cost, tick, pooled=True)

    def _kept(
        self, text: LabelledText, compute: Any, cost: CostMeter, tick: Callable[[float], None], **marks: bool
    ) -> NDArray[np.float32]:
        folder = self._folder / content_id({"encoder": self.identity, "rows": text.fingerprint, **marks})
        features, _ = kept(
            folder / "features.npy",
            folder / "entry.json",
            cost,
            "encode",
            make=lambda: (compute(text, cost, tick), {}),
            save=lambda made, path: np.save(path, made, allow_pickle=False),
            load=lambda path, _: np.load(path, allow_pickle=False),
        )
        return features


class SlicedEncoder:
    """Looks up rows of a larger text whose features are computed once; the bill is the rows' share.

    Only for encoders that see each text by itself: one that is fitted on the rows it encodes is asked for just those.

    Args:
        inner: The encoder.
        whole: The larger text.
    """

    def __init__(self, inner: CachedEncoder, whole: LabelledText) -> None:
        self.identity, self.rowwise = inner.identity, inner.rowwise
        self._inner, self._whole = inner, whole

    def embed(
        self, text: LabelledText, cost: CostMeter, tick: Callable[[float], None] = lambda _: None
    ) -> NDArray[np.float32]:
        """Returns (N, D) float32 features with L2 norm 1."""
        places = _places(text, self._whole) if self.rowwise else None
        if places is None:
            return self._inner.embed(text, cost, tick)
        features = self._inner.embed(self._whole, cost, tick)
        cost.phases[-1] = share(cost.phases[-1], len(self._whole) / len(places))
        return features[places]


def _places(text: LabelledText, whole: LabelledText) -> NDArray[np.int64] | None:
    """Returns where the rows of one text are in another, or None where some are not, or read otherwise."""
    known = {int(row): place for place, row in enumerate(whole.row_ids_N)}
    places = [known.get(int(row), -1) for row in text.row_ids_N]
    if not places or min(places) < 0 or whole.take(places).fields != text.fields:
        return None
    return np.array(places, dtype=np.int64)


class TransformerEncoder:
    """Masked mean pooling of a transformer's last layer, normalised to length 1.

    Args:
        name: Model name for the resolver.
        max_length: Maximum length in tokens.
        device: `cpu` or `cuda`.
    """

    rowwise = True

    def __init__(self, name: str, max_length: int, device: str) -> None:
        from tdbench.bench.models.resolve import model_sha256, resolve
        from tdbench.bench.training.prepared import compute_dtype

        self._name, self._max_length, self._device = name, max_length, device
        self.identity: dict[str, str | int] = {
            "kind": "mean-pooled transformer",
            "model": model_sha256(resolve(name)),
            "max_length": max_length,
            "dtype": str(compute_dtype(device)),
            "version": FEATURES_VERSION,
        }

    def embed(
        self, text: LabelledText, cost: CostMeter, tick: Callable[[float], None] = lambda _: None
    ) -> NDArray[np.float32]:
        """Returns (N, D) float32 features with L2 norm 1."""
        return _unit(self.pooled(text, cost, tick))

    def pooled(
        self, text: LabelledText, cost: CostMeter, tick: Callable[[float], None] = lambda _: None
    ) -> NDArray[np.float32]:
        """Returns (N, D) float32 features before they are brought to length 1."""
        from tdbench.bench.training.engine import predict
        from tdbench.bench.training.modules import MeanPooled, load_backbone, tokenizer_for
        from tdbench.bench.training.prepared import Prepared

        pooled = Prepared(MeanPooled(load_backbone(self._name)), self._device)
        encoded = tokenizer_for(self._name)(text.fields, self._max_length)
        return predict(pooled, encoded, cost, tick).numpy()


def _unit(features_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    import torch

    return torch.nn.functional.normalize(torch.from_numpy(features_ND), dim=1).numpy()


class TfidfEncoder:
    """TF-IDF with truncated SVD, fitted on the very rows it encodes: needs no weights.

    Args:
        seed: Seed of the randomised SVD.
    """

    rowwise = False

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self.identity: dict[str, str | int] = {"kind": "tf-idf svd", "seed": seed, "version": TFIDF_VERSION}

    def embed(
        self,
        text: LabelledText,
        cost: CostMeter,  # noqa: ARG002 - same interface as the transformer, which counts FLOPs
        tick: Callable[[float], None] = lambda _: None,
    ) -> NDArray[np.float32]:
        """Returns (N, D) float32 features with L2 norm 1, D at most 128."""
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.preprocessing import normalize

        counts: Any = TfidfVectorizer(sublinear_tf=True, min_df=2).fit_transform(text.joined())
        dimensions = min(TFIDF_DIMENSIONS, counts.shape[1] - 1)
        features: Any = TruncatedSVD(dimensions, random_state=self._seed).fit_transform(counts)
        tick(1.0)
        return np.asarray(normalize(features), dtype=np.float32)
