"""The built-in methods against slow, literal versions of their definitions, on random features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans

from tdbench.bench.budget import Budget, count_tokens
from tdbench.bench.card import Skip
from tdbench.bench.context import Context
from tdbench.bench.cost import CostMeter
from tdbench.bench.data.loading import load_task
from tdbench.bench.data.text import LabelledText
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.registry import METHODS, TASKS

SIZES = (23, 40, 31)
SELECTORS = ("random", "herding", "kcenter", "kmeans")
ENCODER_METHODS = ("herding", "kcenter", "kmeans")
ROW_METHODS = [
    name for name in METHODS.names() if (card := METHODS.get(name).card).output == "rows" and "source" not in card.reads
]
"""Others make texts or token vectors, or read the source learner: see test_synthesis.py and the conformance tests."""


class FakeEncoder:
    """Looks features up by row id, as an encoder that has computed them before."""

    identity = {"kind": "fake"}

    def __init__(self, features_ND: np.ndarray) -> None:
        self._features_ND = features_ND

    def embed(self, text: LabelledText, cost: CostMeter, tick=lambda _: None) -> np.ndarray:
        tick(1.0)
        return self._features_ND[text.row_ids_N // 7]


def corpus(sizes: tuple[int, ...] = SIZES, seed: int = 0) -> LabelledText:
    """Texts of 1 to 12 words in mixed class order; row ids differ from positions."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    texts = [f"row {i}" + " word" * int(rng.integers(0, 11)) for i in range(len(labels))]
    return LabelledText({"text": texts}, labels, tuple("abcdef"[: len(sizes)]), np.arange(len(labels)) * 7)


def features(n_rows: int, width: int = 6, seed: int = 1) -> np.ndarray:
    made = np.random.default_rng(seed).normal(size=(n_rows, width))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def distil(
    name: str, budget: Budget, seed: int = 0, real: LabelledText | None = None, features_ND: np.ndarray | None = None
) -> tuple[DistilledSet, LabelledText]:
    real = corpus() if real is None else real
    made_ND = features(len(real)) if features_ND is None else features_ND
    context = Context(seed, "cpu", CostMeter(), Path("unused"), lambda: FakeEncoder(made_ND))
    method = METHODS.get(name)()
    made = method.distil(real, budget, context)
    made.check(budget if method.card.uses_budget else Budget("all"), real)
    return made, real


def chosen_of_class(made: DistilledSet, label: int) -> list[int]:
    """Positions of the rows chosen for a class, in the order of the set."""
    assert made.row_ids_M is not None
    return [int(row) // 7 for row, of in zip(made.row_ids_M, made.labels_M, strict=True) if of == label]


def literal_herding(features_ND: np.ndarray, n_picks: int) -> list[int]:
    """Minimises || mean - (sum + x) / t || over all rows that are left."""
    features_ND = features_ND.astype(np.float64)
    mean, chosen = features_ND.mean(axis=0), []
    for t in range(1, n_picks + 1):
        total = features_ND[chosen].sum(axis=0)
        left = [i for i in range(len(features_ND)) if i not in chosen]
        chosen.append(min(left, key=lambda i: np.linalg.norm(mean - (total + features_ND[i]) / t)))
    return chosen


def literal_farthest_first(features_ND: np.ndarray, n_picks: int) -> list[int]:
    """Starts at the row nearest to the mean, then takes the row farthest from all that are taken."""
    features_ND = features_ND.astype(np.float64)
    chosen = [int(np.linalg.norm(features_ND - features_ND.mean(axis=0), axis=1).argmin())]
    while len(chosen) < n_picks:
        nearest = cdist(features_ND, features_ND[chosen]).min(axis=1)
        chosen.append(int(nearest.argmax()))
    return chosen


@pytest.mark.parametrize(("name", "literal"), [("herding", literal_herding), ("kcenter", literal_farthest_first)])
@pytest.mark.parametrize("per_class", [1, 2, 10, 23])
@pytest.mark.parametrize("feature_seed", [1, 2, 3])
def test_greedy_selection_follows_its_definition_row_by_row(name, literal, per_class, feature_seed):
    real = corpus()
    features_ND = features(len(real), seed=feature_seed)
    made, _ = distil(name, Budget("b", per_class), real=real, features_ND=features_ND)
    for label in range(3):
        rows = real.positions_of_class(label)
        assert chosen_of_class(made, label) == rows[literal(features_ND[rows], per_class)].tolist()


def test_herding_follows_its_definition_on_features_that_are_not_normalised():
    real = corpus()
    features_ND = features(len(real)) * np.random.default_rng(5).uniform(0.2, 5, size=(len(real), 1)).astype(np.float32)
    made, _ = distil("herding", Budget("b", 10), real=real, features_ND=features_ND)
    for label in range(3):
        rows = real.positions_of_class(label)
        assert chosen_of_class(made, label) == rows[literal_herding(features_ND[rows], 10)].tolist()


@pytest.mark.parametrize("per_class", [1, 3, 10])
@pytest.mark.parametrize("seed", [0, 1])
def test_kmeans_takes_the_row_nearest_to_each_centroid(per_class, seed):
    real = corpus((150, 200, 170))  # large clusters: the two rows of a cluster of two would be equally near
    features_ND = features(len(real))
    made, _ = distil("kmeans", Budget("b", per_class), seed=seed, real=real, features_ND=features_ND)
    context = Context(seed, "cpu", CostMeter(), Path("unused"), lambda: FakeEncoder(features_ND))
    rng = context.rng("selection")
    for label in range(3):
        rows = real.positions_of_class(label)
        model = KMeans(per_class, n_init=1, random_state=int(rng.integers(2**31))).fit(features_ND[rows])
        distances = cdist(model.cluster_centers_.astype(np.float64), features_ND[rows].astype(np.float64))
        # Nearest pairs first, each row and each centroid once.
        pairs = sorted(np.ndindex(distances.shape), key=lambda pair: distances[pair])
        taken: dict[int, int] = {}
        for centroid, row in pairs:
            if centroid not in taken and row not in taken.values():
                taken[centroid] = row
        assert set(chosen_of_class(made, label)) == {int(rows[row]) for row in taken.values()}
        sizes = np.bincount(model.labels_, minlength=per_class)
        order = [sizes[next(c for c, row in taken.items() if rows[row] == p)] for p in chosen_of_class(made, label)]
        assert order == sorted(order, reverse=True)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("n_different", [1, 4, 60])
@pytest.mark.parametrize("name", SELECTORS)
def test_duplicate_rows_are_still_distinct_rows(name, n_different):
    real = corpus()
    features_ND = features(len(real))[np.arange(len(real)) % n_different]
    made, _ = distil(name, Budget("b", 10), real=real, features_ND=features_ND)
    assert made.row_ids_M is not None
    assert len(set(made.row_ids_M.tolist())) == 30


@pytest.mark.parametrize("name", SELECTORS)
@pytest.mark.parametrize("per_class", [1, 5, 23])
def test_every_class_holds_exactly_the_budget_with_its_own_labels(name, per_class):
    made, real = distil(name, Budget("b", per_class))
    assert np.bincount(made.labels_M).tolist() == [per_class] * 3
    assert made.labels_M.tolist() == real.labels_N[real.positions_of_rows(made.row_ids_M)].tolist()
    assert len(set(made.row_ids_M.tolist())) == 3 * per_class


@pytest.mark.parametrize("name", ["random", "herding", "kcenter"])
@pytest.mark.parametrize("tokens", [5, 40, 100_000])
def test_a_token_budget_is_used_up_and_never_exceeded(name, tokens):
    made, real = distil(name, Budget("t", tokens_per_class=tokens))
    texts = real.joined()
    for label in range(3):
        chosen = chosen_of_class(made, label)
        used = sum(count_tokens(texts[i]) for i in chosen)
        left = [count_tokens(texts[i]) for i in real.positions_of_class(label) if i not in chosen]
        assert used <= tokens
        if name == "random" or tokens == 100_000:  # the others look at a prefix of their order only
            assert all(used + cost > tokens for cost in left)


def test_a_budget_of_texts_and_tokens_keeps_both_limits():
    made, _ = distil("random", Budget("both", per_class=3, tokens_per_class=12))
    counts = np.bincount(made.labels_M, minlength=3)
    assert (counts >= 1).all()
    assert (counts <= 3).all()


def test_kmeans_leaves_out_budgets_without_a_number_of_texts():
    method, task = METHODS.get("kmeans")(), TASKS.get("sst2")()
    assert isinstance(method.supports(task, Budget("t", tokens_per_class=100)), Skip)
    assert method.supports(task, Budget("b", per_class=3)) is None


def test_trigrams_of_texts_are_trigrams_of_train_texts_and_no_text_is_a_train_text():
    real = load_task(TASKS.get("agnews")(), "standin", None).train.take(range(400))
    contexts = [Context(seed, "cpu", CostMeter(), Path(), lambda: None) for seed in (1, 1, 2)]
    first, again, other = (METHODS.get("trigram")().distil(real, Budget("b", 6), context) for context in contexts)
    assert first.fields == again.fields
    assert first.fields != other.fields
    assert first.n_exact(real, real) == 0
    for text, label in zip(first.fields["text"], first.labels_M, strict=True):
        own = real.take(real.positions_of_class(label)).fields["text"]
        known = {tuple(words[i : i + 3]) for words in map(str.split, own) for i in range(len(words) - 2)}
        words = text.split()
        assert all(tuple(words[i : i + 3]) in known for i in range(len(words) - 2))
        assert any(one.split()[:1] == words[:1] for one in own)


@pytest.mark.parametrize("name", ROW_METHODS)
def test_the_same_seed_gives_the_same_set(name):
    budget = Budget("b", 5)
    first, second = distil(name, budget, seed=3)[0], distil(name, budget, seed=3)[0]
    assert first.row_ids_M.tolist() == second.row_ids_M.tolist()


@pytest.mark.parametrize("name", ROW_METHODS)
def test_another_seed_gives_another_set_exactly_where_the_card_says_so(name):
    made = {tuple(distil(name, Budget("b", 5), seed=seed)[0].row_ids_M.tolist()) for seed in range(4)}
    assert (len(made) == 1) == METHODS.get(name).card.deterministic


def test_random_rows_are_uniform_within_a_class():
    real = corpus((20, 20))
    hits = np.zeros(40)
    for seed in range(400):
        made, _ = distil("random", Budget("b", 5), seed=seed, real=real)
        hits[made.row_ids_M // 7] += 1
    # 400 draws of 5 in 20: mean 100, standard deviation 8.7 each.
    assert (np.abs(hits - 100) < 45).all()


def test_majority_is_one_text_of_the_most_frequent_class_whatever_the_budget():
    made, real = distil("majority", Budget("b", 5))
    assert made.labels_M.tolist() == [1]
    assert made.row_ids_M[0] // 7 == real.positions_of_class(1)[0]
    tie, _ = distil("majority", Budget("b", 5), real=corpus((9, 12, 12)))
    assert tie.labels_M.tolist() == [1]


def test_full_is_every_row_in_order():
    real = corpus()
    context = Context(0, "cpu", CostMeter(), Path("unused"), lambda: FakeEncoder(features(len(real))))
    made = METHODS.get("full")().distil(real, Budget("all"), context)
    assert made.row_ids_M.tolist() == real.row_ids_N.tolist()
    assert made.labels_M.tolist() == real.labels_N.tolist()


@pytest.mark.parametrize("name", ROW_METHODS)
def test_the_card_says_whether_the_encoder_is_read(name):
    calls = []
    real = corpus()

    def make_encoder() -> FakeEncoder:
        calls.append(name)
        return FakeEncoder(features(len(real)))

    METHODS.get(name)().distil(real, Budget("b", 2), Context(0, "cpu", CostMeter(), Path("unused"), make_encoder))
    assert bool(calls) == ("encoder" in METHODS.get(name).card.reads)
