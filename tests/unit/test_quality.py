"""What is measured about how texts read."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from pydantic import ValidationError

from tdbench.bench.config import settings_for
from tdbench.bench.data.loading import load_task
from tdbench.bench.data.word_pairs import WordPairs
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.experiment.executor import Executor
from tdbench.bench.experiment.plan import Planner
from tdbench.bench.experiment.results import Results
from tdbench.bench.progress import Reporter
from tdbench.bench.quality.evaluator import TextEvaluator, evaluator_of, judged
from tdbench.bench.quality.spread import distinct, repetitive, self_bleu, word_measures
from tdbench.bench.record import TextQuality
from tdbench.bench.record_migrations import SCHEMA_VERSION, migrate
from tdbench.bench.registry import TASKS
from tdbench.bench.testing.texts import small_task
from tests.unit.test_synthesis import context


@pytest.fixture(scope="module")
def real():
    return small_task("two classes").train


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory):
    plugin = TASKS.get("sst2")
    data = load_task(plugin(plugin.Config()), "standin", None)
    return evaluator_of(data, tmp_path_factory.mktemp("cache"), "cpu")


def words_of(texts, labels=None, **fields):
    columns = fields or {"sentence": texts}
    n = len(next(iter(columns.values())))
    made = DistilledSet.from_texts(columns, labels or [0, 1] * (n // 2))
    like = small_task("pairs" if fields else "two classes").train
    return word_measures(made.resolve(like), like)


def test_distinct_counts_different_n_grams():
    assert distinct(["a b a", "A c"], 1) == pytest.approx(3 / 5)
    assert distinct(["a b a", "a b"], 2) == pytest.approx(2 / 3)
    assert math.isnan(distinct(["a"], 2))


def test_repetitive_texts_repeat_others_or_themselves():
    assert repetitive(["a b", "A  b", "no no no no no", "no no no no", "a b a b c d"]) == [
        False,
        True,
        True,
        False,
        False,
    ]
    found = words_of(["good film", "Good film", "  ", "new words here"])
    assert (found["empty_frac"], found["repetitive_frac"]) == (0.25, 0.25)
    pairs = {"premise": ["one two", "four"], "hypothesis": ["three", " "]}
    assert words_of(None, **pairs)["empty_frac"] == 0.5


def test_texts_of_pairs_are_counted_field_by_field():
    found = words_of(None, premise=["one two", "one two"], hypothesis=["two", "three"])
    assert found["distinct_1"] == pytest.approx(3 / 6)
    assert found["distinct_2"] == pytest.approx(1 / 2)
    assert found["mean_words"] == 3


def test_lengths_are_compared_as_distributions(real):
    found = word_measures(real, real)
    assert found["length_gap_words"] == 0
    assert found["mean_words"] == found["mean_words_real"]
    longer = word_measures(DistilledSet.from_texts({"sentence": ["w " * 50] * 2}, [0, 1]).resolve(real), real)
    assert longer["length_gap_words"] == pytest.approx(50 - found["mean_words_real"])


def test_self_bleu_is_one_for_repeats_and_what_sacrebleu_says_of_each_text_against_the_others():
    from sacrebleu import sentence_bleu

    assert self_bleu(["the same old song"] * 3) == pytest.approx(1)
    texts = ["a good film with a heart", "a good film without one", "rain in the north tomorrow"]
    others = [[t for j, t in enumerate(texts) if j != i] for i in range(3)]
    expected = [sentence_bleu(text, rest, lowercase=True).score / 100 for text, rest in zip(texts, others, strict=True)]
    assert self_bleu(texts) == pytest.approx(np.mean(expected))
    assert math.isnan(self_bleu(["alone"]))


def test_near_duplicates_are_those_of_a_plain_loop(real):
    texts = [*real.joined()[:60], *(text + " indeed" for text in real.joined()[:20]), "", "one", "one"]

    def pairs(text):
        words = ["", *text.lower().split(), ""]
        return {(a, b) for a, b in itertools.pairwise(words)}

    left, right = texts[:50], texts[30:]
    expected = [[len(pairs(a) & pairs(b)) > 0.8 * len(pairs(a) | pairs(b)) for b in right] for a in left]
    found = WordPairs.of(left).near(WordPairs.of(right)).toarray()
    assert found.tolist() == expected
    assert found.any()
    assert WordPairs.of([]).near(WordPairs.of(right)).shape == (0, len(right))
    assert not WordPairs.of(left).near(WordPairs.of(right, least_words=1000)).nnz


def test_the_judge_is_another_model_and_finds_shuffled_words_odd(real, tmp_path):
    ctx = context(tmp_path)
    rng = np.random.default_rng(0)
    texts = list(real.fields["sentence"][:40])
    shuffled = [" ".join(rng.permutation(text.split())) for text in texts]
    labels = real.labels_N[:40]
    with ctx.cost.phase("x"):
        plain, odd = (
            judged(DistilledSet.from_texts({"sentence": column}, labels), real, ctx) for column in (texts, shuffled)
        )
        source = ctx.source(real)
        assert ctx.task_lm(real, source).perplexity != ctx.judge(real, source).perplexity
    assert plain["judge_perplexity"] < odd["judge_perplexity"]
    assert plain["judge_perplexity_real"] == odd["judge_perplexity_real"] == ctx.judge(real, source).perplexity


def draw(evaluator, n, seed):
    train, rng = evaluator.data.train, np.random.default_rng(seed)
    rows = [rng.permutation(train.positions_of_class(label))[:n] for label in range(train.n_classes)]
    return train.take(np.concatenate(rows))


def test_real_texts_as_a_generated_set_are_near_train_and_agree_with_their_labels(evaluator):
    rows = draw(evaluator, 12, 0)
    made = DistilledSet.from_texts(rows.fields, rows.labels_N)
    found = evaluator.measure(made, with_encoder=False)
    assert found.values["near_train_frac"] == 1
    assert found.encoder is None
    assert not any("minilm" in name for name in found.values)
    turned = DistilledSet.from_texts(rows.fields, 1 - rows.labels_N)
    wrong = evaluator.measure(turned, with_encoder=False).values["label_agreement_frac"]
    assert wrong == pytest.approx(1 - found.values["label_agreement_frac"])
    assert wrong < 0.5
    assert 0.5 < found.values["label_agreement_real_frac"] < 1


def test_selections_leave_out_what_says_nothing_of_real_rows(evaluator):
    rows = draw(evaluator, 12, 1)
    values = evaluator.measure(DistilledSet.from_rows(evaluator.data.train, _places(evaluator, rows)), False).values
    assert "near_train_frac" not in values
    assert "label_agreement_frac" not in values
    assert values["near_test_frac"] >= 0
    assert 1 <= values["vendi_words"] <= 24


def _places(evaluator, rows):
    return evaluator.data.train.positions_of_rows(rows.row_ids_N)


def test_random_rows_are_told_from_real_texts_as_rarely_as_the_test_says(evaluator):
    values = []
    for seed in range(60):
        rows = draw(evaluator, 5, 100 + seed)
        made = DistilledSet.from_rows(evaluator.data.train, _places(evaluator, rows))
        values.append(evaluator.measure(made, False).values)
    told = np.mean([value["mmd_p_words"] <= 0.05 for value in values])
    assert told <= 0.15  # a binomial with 0.05 exceeds it with a probability of 0.0013
    assert abs(np.mean([value["mmd2_words"] for value in values])) < 0.01


def test_one_repeated_text_is_told_apart_and_worth_one(evaluator):
    rows = draw(evaluator, 1, 3)
    fields = {name: column * 8 for name, column in rows.fields.items()}
    values = evaluator.measure(DistilledSet.from_texts(fields, list(rows.labels_N) * 8), False).values
    assert values["mmd_p_words"] <= 0.01
    assert values["vendi_words"] <= 2.01
    assert values["self_bleu_frac"] > 0.9
    assert values["repetitive_frac"] == pytest.approx(14 / 16)


@pytest.mark.parametrize(
    "texts", [["", " "], ["\u00e9\u00e8 \U0001f600", "\u4f60\u597d"], ["x", "x"], ["\u2028", "a\tb"]]
)
def test_odd_texts_are_measured_too(evaluator, texts):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = evaluator.measure(DistilledSet.from_texts({"sentence": texts}, [0, 1]), False)
    assert all(math.isfinite(value) for value in found.values.values())
    assert "mmd2_words" not in found.values  # one text a class has no unbiased distance


def test_a_set_that_selects_the_whole_sample_has_nothing_to_be_compared_with(evaluator):
    everything = DistilledSet.from_rows(evaluator.data.train, np.arange(len(evaluator.data.train)))
    assert evaluator.measure(everything, False) is None


def test_a_set_is_worth_more_than_numbers_about_it(tmp_path, monkeypatch, capsys):
    def broken(*_):
        raise RuntimeError("no numbers today")

    monkeypatch.setattr(TextEvaluator, "measure", broken)
    runs = settings_for(["task=sst2", "data.kind=standin", "protocol=smoke", "method=random", "budget=dpc1"])
    ((job, _),) = Planner().plan(runs).cells
    record = Executor(Results(tmp_path), runs[0].runtime, Reporter()).ensure(job)
    assert record.distil is not None
    assert record.distil.quality is None
    assert "RuntimeError: no numbers today" in capsys.readouterr().err


@pytest.mark.parametrize(
    "bad",
    [{"empty_frac": 1.5}, {"mean_words": 1e308}, {"mean_words": "5"}, {"mean_words": True}, {"mean_words": math.nan}],
)
def test_records_with_impossible_numbers_are_refused(bad):
    with pytest.raises(ValidationError):
        TextQuality(version=1, encoder=None, values=bad)


def test_older_records_have_the_harness_s_numbers_moved_away_from_the_method_s():
    raw = {"schema_version": 8, "distil": {"diagnostics": {"distinct_2": 0.5, "match_floor": 0.1}}}
    distil = migrate(raw)["distil"]
    assert distil["diagnostics"] == {"match_floor": 0.1}
    assert distil["quality"] == {"version": 0, "encoder": None, "values": {"distinct_2": 0.5}}
    assert migrate({"schema_version": 8, "distil": None})["schema_version"] == SCHEMA_VERSION


def test_very_large_sets_are_left_unmeasured(evaluator):
    many = DistilledSet.from_texts({"sentence": ["w"] * 5_002}, [0, 1] * 2_501)
    assert evaluator.measure(many, False) is None
