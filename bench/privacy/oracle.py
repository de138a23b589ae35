"""Oracle of private methods: their only access to the rows, by queries that are answered with noise and entered in a ledger.

Shapes: N private rows, C classes, D features, M candidates.
"""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tdbench.bench.canonical import canonical_json
from tdbench.bench.data.text import LabelledText
from tdbench.bench.errors import PluginError, UsageError
from tdbench.bench.privacy.accounting import Mechanism, check_agreement, epsilon_of, prv_epsilon, scale_for
from tdbench.bench.record import PrivateQuery

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tdbench.bench.context import Context, Features
    from tdbench.bench.privacy.training import RowModel, TrainingOptions
    from tdbench.bench.record import Mechanism as Kind

    Floats = NDArray[np.float64]
    Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Query:
    """Query that a method is going to make.

    Args:
        name: What for; the same name is used when it is asked.
        steps: How often it is asked.
        kind: `gaussian`, `sampled-gaussian` or `laplace`.
        rate: Probability with which every row takes part in a step, for `sampled-gaussian`.
        weight: How exact the answers are to be in comparison with the other queries': twice the weight is half the noise.
    """

    name: str
    steps: int = 1
    kind: Kind = "gaussian"
    rate: float = 1.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.weight < math.inf and self.steps >= 1):
            raise PluginError(f"query '{self.name}' needs a positive weight and at least one step; got {self}.")


@dataclass
class Ledger:
    """Ledger of a private run: the allocated budget, and the queries that were made."""

    noise: dict[str, Mechanism] = field(default_factory=dict)
    """Name -> the mechanism, with its noise multiplier and the number of answers that the budget holds."""
    sensitivity: dict[str, float] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    raw_reads: list[str] = field(default_factory=list)

    def queries(self) -> tuple[PrivateQuery, ...]:
        """Returns the queries as they were answered."""
        return tuple(
            PrivateQuery(
                name=name,
                mechanism=self.noise[name].kind,
                sensitivity=self.sensitivity[name],
                noise_multiplier=self.noise[name].noise,
                rate=self.noise[name].rate,
                steps=steps,
            )
            for name, steps in self.asked.items()
        )


_CHECKED, _LARGE = 6, 10**8


class PrivateOracle:
    """Answers queries about private rows with noise that was planned beforehand.

    What is public: the number of rows, the classes, the names of the fields. Nothing else is known without a query.

    Args:
        rows: The private rows.
        epsilon: Budget; infinity for exact answers, 0 for none at all.
        delta: Of the same promise.
        group: The promise covers so many rows together.
        noise_only: Every answer is the noise alone.
        ctx: Encoder, seeds and cost meter of the run.
    """

    def __init__(
        self, rows: LabelledText, epsilon: float, delta: float, *, group: int, noise_only: bool, ctx: Context
    ) -> None:
        self.epsilon, self.delta, self.group = epsilon, delta, group
        self.n_rows, self.label_names, self.field_names = len(rows), rows.label_names, tuple(rows.fields)
        self.ledger = Ledger()
        self._noise_only, self._ctx = noise_only, ctx
        self._noise = noise_for(ctx.noise_name, ctx.seed)
        self._rng = self._noise.stream
        self._rows = PrivateRows(rows)

    @property
    def noise_description(self) -> str:
        """Where the noise comes from, in words."""
        return self._noise.description

    @property
    def n_classes(self) -> int:
        """Number of classes C."""
        return len(self.label_names)

    @property
    def zero_budget(self) -> bool:
        """Whether the budget is 0: then no query may be asked, and a method uses what is public alone."""
        return self.epsilon == 0

    def allocate(self, *planned: Query) -> None:
        """Divides the budget among queries, before the first one is asked.

        Raises:
            PluginError: The budget is 0, or is allocated already, or two queries have one name.
            UsageError: The accountants disagree about the allocation.
        """
        if self.zero_budget or self.ledger.noise:
            raise PluginError("allocate the budget once, and not with epsilon=0: test oracle.zero_budget first.")
        if len({one.name for one in planned}) < len(planned):
            raise PluginError(f"two queries have the same name: {', '.join(one.name for one in planned)}; rename one.")
        relative = {one.name: Mechanism(one.kind, 1.0 / one.weight, one.rate, one.steps) for one in planned}
        exact = math.isinf(self.epsilon)
        scale = 0.0 if exact else scale_for(tuple(relative.values()), self.epsilon, self.delta, group=self.group)
        self.ledger.noise = {name: replace(one, noise=one.noise * scale) for name, one in relative.items()}
        if self.group == 1 and scale > 0:
            whole = list(self.ledger.noise.values())
            check_agreement(epsilon_of(whole, self.delta), prv_epsilon(whole, self.delta))

    def class_sums(self, name: str, count_weight: float = 0.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Sums the encoder's features of every class's rows; each row has length 1 and belongs to one class.

        Args:
            name: A planned query of kind `gaussian`.
            count_weight: A further coordinate of every row, so that the number of rows of each class is learnt from the same answer; 0
                for none. It raises the sensitivity from 1 to sqrt(1 + count_weight^2).

        Returns:
            (C, D) noisy sums and (C,) noisy counts, NaN without a count weight.
        """
        sensitivity = math.sqrt(1 + count_weight**2)

        def exact() -> NDArray[np.float64]:
            return feature_sums(self._features_ND, self._rows.open().labels_N, self.n_classes, count_weight)

        sums = self._gaussian(name, sensitivity, (self.n_classes, self._width() + 1), exact)
        counts = sums[:, -1] / count_weight if count_weight else np.full(self.n_classes, np.nan)
        return sums[:, :-1], counts

    def votes(
        self, name: str, candidates_MD: NDArray[np.float32], open_CM: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Lets every row vote for the candidate whose features are nearest (private evolution; Lin et al., 2024).

        Args:
            name: A planned query of kind `gaussian`.
            candidates_MD: Features of public texts, of length 1.
            open_CM: Candidates that rows of each class may vote for; None for all.

        Returns:
            (C, M) noisy numbers of votes by the class of the voters; they may be negative, and are NaN where a vote was not open. A
            row changes one of them by 1.
        """
        open_CM = np.ones((self.n_classes, len(candidates_MD)), dtype=bool) if open_CM is None else open_CM

        def exact() -> NDArray[np.float64]:
            return vote_counts(self._features_ND, self._rows.open().labels_N, candidates_MD, open_CM)

        return np.where(open_CM, self._gaussian(name, 1.0, open_CM.shape, exact), np.nan)

    def head_gradients(
        self, name: str, weight_CE: NDArray[np.float64], center_D: NDArray[np.float64], clip: float = 1.0
    ) -> NDArray[np.float64]:
        """Sums the gradients of every class's rows at a public linear head on the encoder's features (GRADMM, section 3).

        Args:
            name: A planned query of kind `gaussian`.
            weight_CE: The head's weights, E = D + 1; the last column holds its offsets.
            center_D: Public vector that is taken from the features, which have length 1.
            clip: L2 norm that a row's gradient is clipped to; the sensitivity.

        Returns:
            (C, C, E): for the rows of every class, the noisy sum of the clipped gradients of their cross-entropies.
        """

        def exact() -> NDArray[np.float64]:
            inputs_NE = np.column_stack([self._features_ND - center_D, np.ones(self.n_rows)])
            return head_gradients(inputs_NE, self._rows.open().labels_N, weight_CE, clip)

        return self._gaussian(name, clip, (self.n_classes, *weight_CE.shape), exact)

    def class_counts(self, name: str) -> NDArray[np.float64]:
        """Counts the rows of every class, a planned query of kind `laplace`: (C,) noisy numbers."""
        noise = self._charge(name, "laplace", 1.0)
        counts = self._rng.laplace(0.0, 1.0, self.n_classes) * noise
        if not self._noise_only:
            counts += np.bincount(self._rows.open().labels_N, minlength=self.n_classes)
        return counts

    def train(self, name: str, model: RowModel, options: TrainingOptions) -> None:
        """Trains a model on the rows by DP-SGD, in place; a planned query of kind `sampled-gaussian` (`training_query`).

        Gradients by row are first compared, on public texts, with those of batches of one row. A copy of the model meets the rows; its
        trained weights, and nothing else of it, come back.

        Raises:
            PluginError: The card does not say that public texts are read, or the query is of another kind.
            UsageError: The model's gradients cannot be taken apart by row.
        """
        from tdbench.bench.privacy.row_checks import check_rows
        from tdbench.bench.privacy.training import train_rows

        planned = self._planned(name)
        if planned.kind == "laplace":
            raise PluginError(f"query '{name}' was planned as 'laplace'; training needs oracle.training_plan.")
        if self._ctx.public_pool is None:
            raise PluginError("training is checked on public texts first; the card must say reads=('public',).")
        self._charge(name, planned.kind, options.clip, times=planned.steps)
        n_weights = sum(weight.numel() for weight in model.module.parameters() if weight.requires_grad)
        few = np.arange(_CHECKED if n_weights < _LARGE else 2)  # each has all its gradients held, twice
        public = self._ctx.public().rows(self.field_names, few)
        check_rows(model, replace(public, labels_N=few % self.n_classes, label_names=self.label_names), options)
        with self._ctx.cost.phase("private training"):
            train_rows(
                model,
                self._rows.open(),
                options,
                mechanism=planned,
                noise=self._rng,
                noise_only=self._noise_only,
                tick=self._ctx.progress,
            )

    def training_query(self, name: str, batch: int, epochs: float) -> Query:
        """Returns the query that training is: about so many passes over the rows, in Poisson samples of an expected size."""
        rate = min(1.0, batch / self.n_rows)
        kind: Kind = "gaussian" if rate == 1.0 else "sampled-gaussian"
        return Query(name, steps=max(1, round(epochs / rate)), kind=kind, rate=rate)

    def records(self, reason: str) -> LabelledText:
        """Hands the rows over as they are. From then on the run promises nothing: its epsilon is infinite, for the reason given."""
        self.ledger.raw_reads.append(reason)
        return self._rows.open().copy()

    def embed(self, public: LabelledText) -> NDArray[np.float32]:
        """Returns the (M, D) features of public texts, of length 1, made as those of the rows are."""
        return self._features().embed(public)

    def _width(self) -> int:
        """Returns the number of features, found out without a row."""
        blank = LabelledText({name: [""] for name in self.field_names}, np.array([-1]), (), np.array([0]))
        return self.embed(blank).shape[1]

    @cached_property
    def _features_ND(self) -> NDArray[np.float64]:  # noqa: N802 - a shape suffix
        """The rows' features, computed and paid for once."""
        return bounded(self._features().embed(self._rows.open()))

    def _features(self) -> Features:
        features = self._ctx.encoder()
        if not features.encoder.rowwise:
            raise UsageError(
                "the source learner's encoder is fitted on the rows that it reads, so that one row changes the features of all; private "
                "methods need a protocol whose source learner is pretrained, such as protocol=lite-v1."
            )
        return features

    def _gaussian(
        self, name: str, sensitivity: float, shape: tuple[int, ...], exact: Callable[[], NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        noise = self._charge(name, "gaussian", sensitivity)
        answer = self._rng.standard_normal(shape) * (noise * sensitivity)
        return answer if self._noise_only else answer + exact()

    def _charge(self, name: str, kind: Kind, sensitivity: float, times: int = 1) -> float:
        """Charges a query to the ledger and returns its noise multiplier.

        Raises:
            PluginError: It was not planned, or has been asked as often as was planned, or differs from what was planned.
        """
        one = self._planned(name)
        if one.kind != kind:
            raise PluginError(f"query '{name}' was planned as '{one.kind}' and asked as '{kind}'.")
        asked = self.ledger.asked.get(name, 0) + times
        if asked > one.steps:
            raise PluginError(f"query '{name}' was planned to be asked {one.steps} times; the budget holds no more.")
        if self.ledger.sensitivity.setdefault(name, sensitivity) != sensitivity:
            raise PluginError(f"query '{name}' was made with another sensitivity before; allocate it under two names.")
        self.ledger.asked[name] = asked
        return one.noise

    def _planned(self, name: str) -> Mechanism:
        if name not in self.ledger.noise:
            known = ", ".join(self.ledger.noise) or "none"
            raise PluginError(f"query '{name}' was not planned; call oracle.allocate first. Planned: {known}.")
        return self.ledger.noise[name]


def bounded(features_ND: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns features of length 1 at most, whatever the encoder made of a row; what is not a number becomes 0."""
    known_ND = np.nan_to_num(features_ND.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    return known_ND / np.maximum(1.0, np.linalg.norm(known_ND, axis=1, keepdims=True))


class PrivateRows:
    """Private rows; printing the oracle shows none of them."""

    def __init__(self, rows: LabelledText) -> None:
        self.__rows = rows

    def open(self) -> LabelledText:
        """Returns the rows."""
        return self.__rows

    def __repr__(self) -> str:
        return f"{len(self.__rows)} private rows"


SECRET_VARIABLE = "TDBENCH_NOISE_SECRET"  # noqa: S105 - a name
"""Names a text that only the maker of a set knows; it enters the seed of all noise."""

_PUBLIC = (
    "NumPy PCG64; its seed follows from the run's options, so that the run can be repeated and the noise be taken off: the promise is the "
    "mechanism's, not these files'"
)

_SECRET = "NumPy PCG64 (not cryptographic), its seed made with a secret that is not kept"  # noqa: S105 - a description


@dataclass(frozen=True)
class Noise:
    """A random stream and what there is to say about it."""

    stream: np.random.Generator
    description: str


def noise_for(name: str, seed: int) -> Noise:
    """Returns the noise of one set: for another method, option, budget or set it is another stream, or differences would show the data.

    Args:
        name: Everything that tells the set from others, and nothing that depends on private rows.
        seed: Seed of the set.
    """
    secret = os.environ.get(SECRET_VARIABLE, "")
    digest = hashlib.sha256(canonical_json(["noise", name, seed, secret]).encode()).digest()
    stream = np.random.Generator(np.random.PCG64(np.random.SeedSequence(int.from_bytes(digest))))
    return Noise(stream, _SECRET if secret else _PUBLIC)


_CHUNK = 8_192


def feature_sums(features_ND: Floats, labels_N: Labels, n_classes: int, count_weight: float) -> Floats:
    """Returns the (C, D + 1) sums of features by class, and of a constant behind them."""
    extended = np.column_stack([features_ND, np.full(len(labels_N), count_weight)])
    return np.stack([extended[labels_N == label].sum(0) for label in range(n_classes)])


def vote_counts(
    features_ND: Floats, labels_N: Labels, candidates_MD: NDArray[np.float32], open_CM: NDArray[np.bool_]
) -> Floats:
    """Returns (C, M): how many rows of each class have each candidate for their nearest, among those that are open to the class."""
    votes_CM = np.zeros(open_CM.shape)
    for label, open_M in enumerate(open_CM):
        own, voters = np.flatnonzero(open_M), np.flatnonzero(labels_N == label)
        for start in range(0, len(voters) if len(own) else 0, _CHUNK):
            near = (features_ND[voters[start : start + _CHUNK]] @ candidates_MD[own].T).argmax(1)
            votes_CM[label, own] += np.bincount(near, minlength=len(own))
    return votes_CM


def head_gradients(inputs_NE: Floats, labels_N: Labels, weight_CE: Floats, clip: float) -> Floats:
    """Returns the (C, C, E) sums by class of the rows' gradients of the cross-entropy of a linear head, each clipped.

    A row's gradient is (p - y) x' for its input x of E numbers, shares p and class y; its length is |p - y| |x|.
    """
    from scipy.special import softmax

    n_classes = len(weight_CE)
    sums = np.zeros((n_classes, n_classes, inputs_NE.shape[1]))
    for start in range(0, len(labels_N), _CHUNK):
        x_BE, labels_B = inputs_NE[start : start + _CHUNK], labels_N[start : start + _CHUNK]
        errors_BC = softmax(x_BE @ weight_CE.T, axis=1) - np.eye(n_classes)[labels_B]
        length_B = np.linalg.norm(errors_BC, axis=1) * np.linalg.norm(x_BE, axis=1)
        errors_BC *= (clip / np.maximum(length_B, clip))[:, None]
        for label in range(n_classes):
            own_B = labels_B == label
            sums[label] += errors_BC[own_B].T @ x_BE[own_B]
    return sums
