"""Pools, duplicate groups and attacks against definitions worked out by hand and by other libraries."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.special import softmax

from tdbench.bench.data.loading import load_task
from tdbench.bench.data.text import LabelledText
from tdbench.bench.distilled import DistilledSet, SoftInputs
from tdbench.bench.errors import DataError
from tdbench.bench.privacy.attacks.model import RMIA_A, model_scores, true_class_log
from tdbench.bench.privacy.attacks.ngrams import BigramModel, NgramIndex, ngrams, words
from tdbench.bench.privacy.attacks.text import TextAttacks
from tdbench.bench.privacy.attacks.vectors import VectorAttacks
from tdbench.bench.privacy.pool import draw_pool, duplicate_groups
from tdbench.bench.privacy.released import Released, less_references, pairs_of, references_of
from tdbench.bench.registry import TASKS


def labelled(texts: list[str], labels: list[int] | None = None, **more: list[str]) -> LabelledText:
    fields = {"text": texts, **more}
    return LabelledText(fields, np.array(labels or [0] * len(texts)), ("a", "b"), np.arange(len(texts)))


def standin(name: str = "agnews"):
    plugin = TASKS.get(name)
    return load_task(plugin(plugin.Config()), "standin", None)


def released(texts: list[str], scores=None) -> Released:
    made = DistilledSet.from_texts({"text": texts}, [0] * len(texts))
    return Released(made, labelled(["x"]), scores)


def test_near_duplicates_are_those_whose_word_pairs_overlap_by_more_than_four_fifths() -> None:
    rng = np.random.default_rng(0)
    base = [" ".join(rng.choice(list("abcdefghij"), 12)) for _ in range(40)]
    texts = base + [text.upper() + "  " for text in base[:5]] + [base[6] + " z", base[7].rsplit(" ", 4)[0]]
    sets = []
    for text in texts:
        tokens = ["", *text.lower().split(), ""]
        sets.append(set(pairwise(tokens)))
    near = np.array([[len(a & b) > 0.8 * len(a | b) for b in sets] for a in sets])
    reach = np.linalg.matrix_power(near.astype(int), len(texts)) > 0  # duplicates of duplicates
    groups = duplicate_groups(labelled(texts))
    assert (np.equal.outer(groups, groups) == reach).all()
    assert groups[:40].tolist() == list(range(40))  # numbered by their first row
    assert groups[40:45].tolist() == [0, 1, 2, 3, 4]


def test_a_premise_that_is_used_twice_makes_twins_and_a_short_hypothesis_does_not() -> None:
    pairs = labelled(
        ["the old man walked home alone", "the old man walked home alone", "a dog ran over the green field"],
        hypothesis=["he was happy then", "nobody knows", "nobody knows"],
    )
    assert duplicate_groups(pairs).tolist() == [0, 0, 1]


def test_a_pool_is_fair_and_apart_from_the_attackers_rows() -> None:
    data = standin()
    pool = draw_pool(data, 400, 300)
    assert len(pool.rows) == 400
    assert not set(pool.rows.row_ids_N) & set(pool.auxiliary.row_ids_N)
    assert set(pool.rows.row_ids_N) <= set(data.train.row_ids_N)
    both = duplicate_groups(
        LabelledText(
            {"text": [*pool.rows.joined(), *pool.auxiliary.joined()]},
            np.concatenate([pool.rows.labels_N, pool.auxiliary.labels_N]),
            pool.rows.label_names,
            np.arange(len(pool.rows) + len(pool.auxiliary)),
        )
    )
    assert not set(both[:400]) & set(both[400:])
    for run in (0, 2, 4):
        assert (pool.membership_mask(run) == ~pool.membership_mask(run + 1)).all()
        assert abs(pool.membership_mask(run).mean() - 0.5) < 4 * 0.5 / math.sqrt(pool.n_groups)
        seen = set(pool.members(run).row_ids_N) | set(pool.members(run + 1).row_ids_N)
        assert seen == set(pool.rows.row_ids_N)
    assert abs((pool.membership_mask(0) == pool.membership_mask(2)).mean() - 0.5) < 4 * 0.5 / math.sqrt(pool.n_groups)
    assert not set(pool.null_rows.row_ids_N) & set(pool.population.row_ids_N)
    again = draw_pool(data, 400, 300)
    assert (again.membership_mask(3) == pool.membership_mask(3)).all()
    assert again.rows.fingerprint == pool.rows.fingerprint


def test_groups_stay_on_one_side() -> None:
    pool = draw_pool(standin(), 400, 300)
    members = set(pool.members(0).row_ids_N.tolist())
    for group in np.flatnonzero(~pool.single_G):
        rows = pool.rows.row_ids_N[pool.group_R == group]
        assert len({int(row) in members for row in rows}) == 1
    assert (pool.by_group(pool.group_R.astype(float)) == np.arange(pool.n_groups)).all()


def test_a_train_split_that_is_too_small_is_refused() -> None:
    data = standin()
    small = type(data)(data.task, data.train.take(range(200)), data.validation, data.test, "standin", "here")
    with pytest.raises(DataError, match="200 train rows; an audit needs at least 300"):
        draw_pool(small, 2200, 2200)


def test_words_and_ngrams() -> None:
    assert words("It's 5 PM, Zoë!") == ["it", "s", "5", "pm", "zoë"]
    assert list(ngrams("abcd", 3)) == [("a", "b", "c"), ("b", "c", "d")]
    assert list(ngrams("ab", 3)) == [("a", "b")]
    assert list(ngrams("", 3)) == []


def test_shares_and_hits_of_ngrams() -> None:
    index = NgramIndex([list("abcdef")], 4)
    assert index.share(list("abcdxy")) == pytest.approx(1 / 3)
    assert index.share(list("cd")) == 1.0  # a text shorter than four words is taken whole
    assert index.share([]) == 0.0
    assert index.hits(list("xbcdex"))
    assert not index.hits(list("bcd"))  # too short to say anything
    assert not index.hits(list("xbcdex"), unless=NgramIndex([list("bcde")], 4))


def test_the_bigram_model_is_witten_bells_and_adds_up_to_one() -> None:
    model = BigramModel([["a", "b"], ["a", "c"]], vocabulary=5)
    # After a: b, c once each, 2 kinds. Single words: a 2, b 1, c 1, end 2 of 6, 4 kinds.
    single_b = (1 + 4 / 5) / (6 + 4)
    assert model.probability("b", "a") == pytest.approx((1 + 2 * single_b) / (2 + 2))
    assert model.probability("b", "never seen") == pytest.approx(single_b)
    for after in ("a", "b", "never seen"):
        assert sum(model.probability(word, after) for word in ("a", "b", "c", "</s>", "other")) == pytest.approx(1)
    expected = math.log(model.probability("a", "<s>")) + math.log(model.probability("</s>", "a"))
    assert model.log_probability(["a"]) == pytest.approx(expected)
    assert BigramModel([], vocabulary=4).probability("x", "y") == 0.25


def test_text_attacks_score_what_they_say() -> None:
    long = "one two three four five six seven eight nine"
    rows = labelled(["Exactly  THIS text", long, "quite another thing here now", long[4:] + " boilerplate"])
    auxiliary = labelled(["two three four five six seven eight nine", "this is more text of the attacker"])
    embedded: list[int] = []

    def embed(text: LabelledText) -> np.ndarray:
        embedded.append(len(text))
        vectors = np.array([[len(one), 1.0] for one in text.joined()], dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    attacks = TextAttacks(rows, auxiliary, embed)
    target = released(["exactly this TEXT", "zero one two three four five six seven eight"])
    found = attacks.scores([target], [0])
    assert list(found) == ["bigram-lm", "exact", "8-gram", "4-gram", "knn"]
    assert found["exact"].tolist() == [[1, 0, 0, 0]]
    # The second shares "one ... eight"; of the fourth the attacker knows every 8-gram that is released.
    assert found["8-gram"].tolist() == [[1, 1, 0, 0]]
    assert found["4-gram"][0].tolist() == pytest.approx([1.0, 5 / 6, 0.0, 4 / 6])
    assert found["bigram-lm"][0].argmax() in (0, 1)
    assert embedded == [4, 2]
    assert attacks.n_copied(target, np.array([True, True, True, True])) == 1
    assert attacks.n_copied(target, np.array([False, True, True, True])) == 0


def test_the_headline_is_a_log_likelihood_ratio() -> None:
    rows, auxiliary, set_ = labelled(["a b", "c"]), labelled(["c c a"]), released(["a b a"])
    own, other = BigramModel([["a", "b", "a"]], 4), BigramModel([["c", "c", "a"]], 4)
    expected = [own.log_probability(text) - other.log_probability(text) for text in (["a", "b"], ["c"])]
    found = TextAttacks(rows, auxiliary, None).scores([set_, set_, set_], pairs_of(3))
    assert found["bigram-lm"] == pytest.approx(np.tile(expected, (3, 1)))
    assert found["bigram-shadows"] == pytest.approx(np.zeros((3, 2)))  # all references are the same set


def test_references_are_the_runs_of_other_pairs() -> None:
    pairs = pairs_of(6)
    assert pairs == (0, 0, 1, 1, 2, 2)
    assert references_of(3, pairs).tolist() == [0, 1, 4, 5]
    assert references_of(6, pairs).tolist() == [0, 1, 2, 3, 4, 5]  # the null run
    scores = np.arange(6.0)[:, None] ** 2
    assert less_references(scores, pairs)[3, 0] == 9 - (0 + 1 + 16 + 25) / 4


def test_log_probabilities_of_the_own_class_and_of_the_rest() -> None:
    scores = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32) * 4
    labels = np.array([0, 1, 2, 0, 1])
    p = softmax(scores.astype(float), axis=1)[np.arange(5), labels]
    own, others = true_class_log(scores, labels)
    assert own == pytest.approx(np.log(p))
    assert others == pytest.approx(np.log(1 - p))
    sure, rest = true_class_log(np.array([[0.0, -np.inf]], dtype=np.float32), np.array([1]))
    assert np.isfinite([sure, rest]).all()


def test_model_attacks_follow_their_definitions() -> None:
    rng = np.random.default_rng(0)
    n_runs, n, z = 4, 30, 20
    members = rng.random((2, n)) < 0.5
    members = np.array([members[0], ~members[0], members[1], ~members[1]])
    own, population = np.log(rng.uniform(0.1, 0.9, (5, n))), np.log(rng.uniform(0.1, 0.9, (5, z)))
    found = model_scores(own, np.log1p(-np.exp(own)), population, members, pairs_of(n_runs))
    assert (found["loss"] == own).all()
    odds = own - np.log1p(-np.exp(own))
    assert found["logit-difference"][1] == pytest.approx(odds[1] - odds[[2, 3]].mean(axis=0))
    assert found["logit-difference"][4] == pytest.approx(odds[4] - odds[:4].mean(axis=0))
    p, pz, refs = np.exp(own), np.exp(population), [2, 3]
    out = np.array([np.mean([p[r, i] for r in refs if not members[r, i]]) for i in range(n)])
    ratio = p[0] / (((1 + RMIA_A) * out + 1 - RMIA_A) / 2)
    ratio_z = pz[0] / (((1 + RMIA_A) * pz[refs].mean(axis=0) + 1 - RMIA_A) / 2)
    assert found["rmia"][0] == pytest.approx([(one > ratio_z).mean() for one in ratio])
    assert list(model_scores(own[:2], own[:2], population[:2], members[:2], [0, 0])) == ["loss"]


def vectors(lengths: list[int], seed: int) -> SoftInputs:
    made = np.random.default_rng(seed).normal(size=(sum(lengths), 3)).astype(np.float32)
    return SoftInputs(made, np.array(lengths)[:, None], "minilm")


def test_token_vectors_are_compared_place_by_place() -> None:
    own, made = vectors([2, 4, 3], 0), vectors([3, 5], 1)
    made.vectors_SD[:3] = own.vectors_SD[6:9]  # the first released text is the third candidate
    rows = labelled(["a", "b", "c"])
    attacks = VectorAttacks(rows, lambda _: own)
    target = Released(DistilledSet.from_vectors(made, [0, 0]), rows)

    def padded(soft: SoftInputs, row: int) -> np.ndarray:
        start = int(soft.lengths_MF[:row].sum())
        part = soft.vectors_SD[start : start + int(soft.lengths_MF[row, 0])]
        return np.vstack([part, np.zeros((5 - len(part), 3))])

    expected = np.array(
        [
            [
                ((padded(own, r) - padded(made, m)) ** 2).sum() / max(own.lengths_MF[r, 0], made.lengths_MF[m, 0])
                for m in range(2)
            ]
            for r in range(3)
        ]
    )
    assert attacks.scores([target], [0])["nearest"][0] == pytest.approx(-expected.min(axis=1), abs=1e-6)
    assert attacks.repeated(target).tolist() == [row in expected.argmin(axis=0) for row in range(3)]
    assert attacks.n_copied(target, np.array([True, True, True])) == 1
    assert attacks.n_copied(target, np.array([True, True, False])) == 0
