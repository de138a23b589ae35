"""The frozen source learner, soft inputs, special tokens, projection and the task's language model, on a tiny transformer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tdbench.bench.budget import Budget
from tdbench.bench.cost import CostMeter
from tdbench.bench.distilled import DistilledSet, SoftInputs
from tdbench.bench.errors import BudgetError, PluginError, UsageError
from tdbench.bench.matching.initialisation import random_words, text_of, vectors_of, words_of
from tdbench.bench.matching.projection import Projection
from tdbench.bench.matching.source import SourceModel
from tdbench.bench.models.task_lm import TaskLM, Vocabulary
from tdbench.bench.models.task_lm_training import TaskLMOptions, cached_task_lm, train_task_lm
from tdbench.bench.testing.texts import KINDS, small_task
from tdbench.bench.testing.tiny import MAX_LENGTH, tiny_learner
from tdbench.bench.training.learners.bow_logreg import BowLogReg
from tdbench.bench.training.recipe import Recipe
from tdbench.bench.training.special_tokens import special_tokens_of
from tdbench.bench.training.training_set import TrainContext, TrainingSet

pytestmark = pytest.mark.usefixtures("full_precision")

OPTIONS = TaskLMOptions(layers=1, heads=2, steps=25, batch_tokens=160)


@pytest.fixture(params=KINDS)
def real(request):
    return small_task(request.param).train


@pytest.fixture
def cost():
    meter = CostMeter()
    with meter.phase("test"):
        yield meter


def source_of(real, cost: CostMeter, tmp_path: Path) -> SourceModel:
    return SourceModel(
        tiny_learner(), real, name="tiny", max_length=MAX_LENGTH, device="cpu", cost=cost, cache=tmp_path, seed=0
    )


def lm_of(real, source: SourceModel) -> TaskLM:
    return train_task_lm(words_of(source, real), real.labels_N, source.table_VE, OPTIONS, seed=0, device="cpu")


def test_the_frame_around_words_is_what_the_tokenizer_makes(real, cost, tmp_path):
    source = source_of(real, cost, tmp_path)
    short = real.take([i for i, ids in enumerate(source.tokenise(real).ids) if len(ids) < MAX_LENGTH][:20])
    expected, made = source.tokenise(short), source.special_tokens.around(words_of(source, short))
    assert [ids.tolist() for ids in made.ids] == [ids.tolist() for ids in expected.ids]
    if expected.type_ids is not None:
        assert made.type_ids is not None
        assert [t.tolist() for t in made.type_ids] == [t.tolist() for t in expected.type_ids]
    assert source.special_tokens.n_special == 1 + len(real.fields)
    assert max(map(len, source.special_tokens.around(words_of(source, real)).ids)) <= MAX_LENGTH


def test_vectors_of_the_table_are_read_like_the_words_they_stand_for(real, cost, tmp_path):
    source = source_of(real, cost, tmp_path)
    words = words_of(source, real.take(range(9)))
    soft = vectors_of(source, words)
    encoded = source.special_tokens.around_vectors(soft, len(source.table_VE))
    by_words, by_vectors = source.features(source.special_tokens.around(words)), source.features(encoded)
    assert torch.allclose(by_words, by_vectors, atol=1e-5)
    assert torch.allclose(by_words, source.features(source.special_tokens.around(words)), atol=1e-6)


def test_the_gradient_of_a_vector_is_the_one_that_transformers_gives(cost, tmp_path):
    from transformers import BertModel

    real = small_task("pairs").train.take(range(6))
    source = source_of(real, cost, tmp_path)
    soft = vectors_of(source, words_of(source, real))
    encoded = source.special_tokens.around_vectors(soft, len(source.table_VE))
    x = torch.from_numpy(soft.vectors_SD).requires_grad_(True)
    (source.soft_features(encoded, x) ** 2).sum().backward()

    model = BertModel.from_pretrained(tiny_learner().config.model).eval()
    table = torch.cat([source.table_VE, torch.from_numpy(soft.vectors_SD)]).requires_grad_(True)
    batch = encoded.collate(np.arange(len(encoded)), "cpu")
    hidden = model(
        inputs_embeds=table[batch["input_ids"]],
        attention_mask=batch["attention_mask"],
        token_type_ids=batch["token_type_ids"],
    ).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    (((hidden * mask).sum(1) / mask.sum(1)) ** 2).sum().backward()
    assert x.grad is not None
    assert table.grad is not None
    assert torch.allclose(x.grad, table.grad[len(source.table_VE) :], atol=1e-5)
    assert all(p.grad is None for p in source._ready.module.parameters())


def test_head_inputs_of_the_real_texts_are_kept_and_charged_again(real, cost, tmp_path):
    first = source_of(real, cost, tmp_path).real_features(real)
    meter = CostMeter()
    with meter.phase("test"):
        again = source_of(real, meter, tmp_path).real_features(real)
    assert np.array_equal(first, again)
    assert any(phase.from_cache for phase in meter.phases)


def test_a_source_without_a_token_table_is_refused(real, cost, tmp_path):
    with pytest.raises(UsageError, match="'bow-logreg' has no token embeddings"):
        SourceModel(BowLogReg(), real, name="bow-logreg", max_length=8, device="cpu", cost=cost, cache=tmp_path, seed=0)


def test_frames_of_tokenizers_without_special_tokens_part_fields_by_a_line_break():
    class Plain:
        unk_token_id = None

        def __call__(self, *texts, add_special_tokens=True, return_special_tokens_mask=False):
            ids = [ord(char) for char in "".join(texts)]
            return {"input_ids": ids, "special_tokens_mask": [0] * len(ids)}

    class Bare:
        inner, separates, pad_id, identity, suffix = Plain(), False, 0, "bare", ()

    single, pair = special_tokens_of(Bare(), 1), special_tokens_of(Bare(), 2)  # type: ignore[arg-type]
    assert (single.gaps, pair.gaps) == (((), ()), ((), (10,), ()))
    assert pair.around([(np.array([7, 8]), np.array([9]))]).ids[0].tolist() == [7, 8, 10, 9]


def literal_projection(source: SourceModel, lm: TaskLM, v: np.ndarray, lengths, labels, k: int, nearness: float):
    """One text after another, one word after another, the whole prefix read anew for every word."""
    table = source.table_VE.numpy()[lm.vocabulary.pieces_U]
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    unknown = source.tokenizer.inner.unk_token_id
    made, start = [], 0
    for row, label in zip(lengths, labels, strict=True):
        prefix = [lm.vocabulary.of_class(label)]
        for field, length in enumerate(row):
            prefix += [lm.vocabulary.between] * (field > 0)
            for place in range(start, start + length):
                likeness = unit @ (v[place] / np.linalg.norm(v[place]))
                likeness[lm.vocabulary.pieces_U == unknown] = -2
                near = np.argsort(-likeness, kind="stable")[:k]
                with torch.no_grad():
                    scores = lm.model(input_ids=torch.tensor([prefix])).logits[0, -1].numpy()
                made.append(int(near[(scores[near] + nearness * likeness[near]).argmax()]))
                prefix.append(made[-1])
            start += length
    return made


@pytest.mark.parametrize(("top_k", "nearness"), [(1, 0.0), (6, 0.0), (6, 3.0)])
def test_projecting_all_texts_at_once_gives_what_word_by_word_gives(real, cost, tmp_path, top_k, nearness):
    source = source_of(real, cost, tmp_path)
    lm = lm_of(real, source)
    words = words_of(source, real.take(range(5)))
    soft = vectors_of(source, words)
    noisy = soft.vectors_SD + 0.02 * np.random.default_rng(0).normal(size=soft.vectors_SD.shape).astype(np.float32)
    labels = real.labels_N[:5]
    projection = Projection(source, lm, soft.lengths_MF, labels, top_k, nearness=nearness)
    chosen = projection.choose(torch.from_numpy(noisy)).tolist()
    assert chosen == literal_projection(source, lm, noisy, soft.lengths_MF, labels, top_k, nearness)
    spelt = projection.words(torch.from_numpy(noisy))
    assert [[len(part) for part in parts] for parts in spelt] == soft.lengths_MF.tolist()
    expected = source.table_VE.numpy()[lm.vocabulary.pieces_U[chosen]]
    assert np.allclose(projection(torch.from_numpy(noisy)).numpy(), expected)


def test_scores_are_those_of_a_plain_forward_pass_and_training_lowers_them(real, cost, tmp_path):
    source = source_of(real, cost, tmp_path)
    words, lm = words_of(source, real), lm_of(real, source)
    made = lm.nll(words[:4], real.labels_N[:4])
    for parts, label, got in zip(words[:4], real.labels_N[:4], made, strict=True):
        ids = torch.tensor([lm.vocabulary.encode(parts, label)])
        with torch.no_grad():
            expected = float(lm.model(input_ids=ids, labels=ids).loss)
        assert got == pytest.approx(expected, rel=1e-5)
    longer = TaskLMOptions(layers=1, heads=2, steps=150, batch_tokens=160, epochs=50)
    trained = train_task_lm(words, real.labels_N, source.table_VE, longer, seed=0, device="cpu")
    assert trained.perplexity < lm.perplexity < len(lm.vocabulary)


def test_samples_have_their_fields_and_words_of_the_train_split_only(real, cost, tmp_path):
    source = source_of(real, cost, tmp_path)
    lm = lm_of(real, source)
    labels = np.repeat(np.arange(real.n_classes), 6)
    made, again, other = (lm.sample(labels, len(real.fields), seed) for seed in (1, 1, 2))
    assert [[p.tolist() for p in parts] for parts in made] == [[p.tolist() for p in parts] for parts in again]
    assert [[p.tolist() for p in parts] for parts in made] != [[p.tolist() for p in parts] for parts in other]
    assert {len(parts) for parts in made} == {len(real.fields)}
    assert min(len(part) for parts in made for part in parts) >= 1
    assert set(np.concatenate([part for parts in made for part in parts])) <= set(lm.vocabulary.pieces_U)
    assert max(sum(map(len, parts)) for parts in made) <= lm.max_length - 2
    texts = text_of(source, list(real.fields), made)
    assert set(texts) == set(real.fields)
    assert all(text.strip() for column in texts.values() for text in column)


def test_a_language_model_is_trained_once_for_the_same_rows(real, cost, tmp_path):
    source = source_of(real, cost, tmp_path)
    words = words_of(source, real)
    second, third = CostMeter(), CostMeter()
    made = [
        cached_task_lm(
            words,
            real.labels_N,
            source.table_VE,
            OPTIONS,
            seed=0,
            device="cpu",
            cache=tmp_path / "lm",
            rows_id=rows_id,
            cost=meter,
        )
        for rows_id, meter in (("a", cost), ("a", second), ("b", third))
    ]
    assert [phase.from_cache for phase in second.phases] == [True]
    assert [phase.from_cache for phase in third.phases] == [False]
    assert made[0].perplexity == made[1].perplexity
    assert np.allclose(*(one.nll(words[:5], real.labels_N[:5]) for one in made[:2]))


def test_pieces_that_no_train_text_uses_are_left_out():
    vocabulary = Vocabulary([(np.array([4, 9]),), (np.array([9, 30]),)], n_classes=2)
    assert vocabulary.pieces_U.tolist() == [4, 9, 30]
    assert vocabulary.encode((np.array([30, 5, 4]),), 1) == [4, 2, 0, 6]
    assert vocabulary.encode((np.array([4]), np.array([9])), 0) == [3, 0, 5, 1, 6]


def test_random_words_come_from_the_texts():
    rng = np.random.default_rng(0)
    made = random_words(np.array([[3, 2], [1, 4]]), [(np.array([5, 6]), np.array([7]))], rng)
    assert [[len(part) for part in parts] for parts in made] == [[3, 2], [1, 4]]
    assert set(np.concatenate([part for parts in made for part in parts])) <= {5, 6, 7}


def soft_set(real, cost, tmp_path, per_class: int = 4) -> DistilledSet:
    rows = np.concatenate([real.positions_of_class(c)[:per_class] for c in range(real.n_classes)])
    source = source_of(real, cost, tmp_path)
    return DistilledSet.from_vectors(vectors_of(source, words_of(source, real.take(rows))), real.labels_N[rows])


def test_a_set_of_vectors_survives_its_files_and_counts_its_vectors(real, cost, tmp_path):
    made = soft_set(real, cost, tmp_path)
    loaded = DistilledSet.load(tmp_path, made.save(tmp_path, {}))
    assert loaded.soft is not None
    assert made.soft is not None
    assert (loaded.output, loaded.track, loaded.soft.learner) == ("embedding", "learner-bound", "tiny")
    assert np.array_equal(loaded.soft.vectors_SD, made.soft.vectors_SD)
    assert np.array_equal(loaded.soft.lengths_MF, made.soft.lengths_MF)
    assert loaded.n_bytes(real) >= made.soft.vectors_SD.nbytes
    loaded.check(Budget("dpc4", per_class=4), real)
    with pytest.raises(BudgetError, match="tokens; budget tok5 allows 5"):
        loaded.check(Budget("tok5", tokens_per_class=5), real)


def test_a_learner_trains_on_vectors_and_leaves_them_as_they_are(real, cost, tmp_path):
    made = soft_set(real, cost, tmp_path)
    train, recipe = TrainingSet.of(made, real), Recipe(MAX_LENGTH, 20, 16, 1e-3, 0.01, 1.0, 0.5)
    test = real.take(range(30)).without_labels()
    before = made.soft.vectors_SD.copy()  # type: ignore[union-attr]
    scores = [tiny_learner().fit_predict(train, test, recipe, TrainContext(s, "cpu", cost)) for s in (0, 0, 1)]
    assert scores[0].shape == (30, real.n_classes)
    assert np.array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])
    assert np.array_equal(before, made.soft.vectors_SD)  # type: ignore[union-attr]
    short = Recipe(5, 20, 16, 1e-3, 0.01, 1.0, 0.5)
    with pytest.raises(UsageError, match="is longer than the 5 tokens of the recipe"):
        tiny_learner().fit_predict(train, test, short, TrainContext(0, "cpu", cost))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vectors_SD": np.zeros((3, 4))}, "2-D float32"),
        ({"vectors_SD": np.zeros((4, 4), np.float32)}, "add up to 3 vectors; got 4"),
        ({"vectors_SD": np.full((3, 4), np.nan, np.float32)}, "finite"),
        ({"lengths_MF": np.array([[3], [0]])}, "has no vector"),
        ({"lengths_MF": np.array([[2, 1], [0, 0]])}, "lengths; got shape"),
    ],
)
def test_soft_inputs_that_do_not_fit_are_refused(change, message):
    fields = {"vectors_SD": np.zeros((3, 4), np.float32), "lengths_MF": np.array([[2], [1]]), "learner": "x"}
    with pytest.raises(PluginError, match=message):
        SoftInputs(**{**fields, **change}).check(1)
