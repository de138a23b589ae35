"""Who answers: causal models in this process, the task's own decoder, a script."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tdbench.bench.errors import LLMError
from tdbench.bench.models.llm.backends.task_lm import TRIES, TaskLMBackend
from tdbench.bench.models.llm.backends.transformers import Draws, TransformersBackend
from tdbench.bench.models.llm.client import GenerationSpec, Message, Request, Sampling
from tdbench.bench.testing.tiny import tiny_generator

PROMPTS = ("one", "a longer question about something", "two words")


@pytest.fixture(scope="module")
def backend():
    return TransformersBackend(tiny_generator(), "cpu")


def answers(backend, requests, sampling, seeds):
    found = {}
    failures = backend.answer(requests, sampling, seeds, lambda place, reply: found.update({place: reply}))
    return [found.get(place) for place in range(len(requests))], failures


def test_a_draw_does_not_depend_on_what_else_is_asked(backend):
    sampling = Sampling(temperature=1.0, top_p=0.9, max_tokens=12)
    requests, seeds = [Request(prompt=prompt) for prompt in PROMPTS], [5, 6, 7]
    together, _ = answers(backend, requests, sampling, seeds)
    for request, seed, reply in zip(requests, seeds, together, strict=True):
        alone, _ = answers(backend, [request], sampling, [seed])
        assert alone[0].text == reply.text
        assert (alone[0].tokens_in, alone[0].tokens_out) == (reply.tokens_in, reply.tokens_out)
    other, _ = answers(backend, requests[:1], sampling, [8])
    assert other[0].text != together[0].text


def test_draws_follow_the_model():
    """Frequencies of one step's draws are the softmax's, within the nucleus."""
    logits = torch.tensor([2.0, 1.0, 0.0, -3.0])
    sampling = Sampling(temperature=0.8, top_p=0.95)
    counts = np.zeros(4)
    rows = 4000
    scores = Draws(sampling, list(range(rows)))(torch.zeros(rows, 1, dtype=torch.long), logits.repeat(rows, 1))
    counts = np.bincount(scores.argmax(1).numpy(), minlength=4) / rows
    share = torch.softmax(logits / 0.8, 0).numpy()
    assert share[:2].sum() < 0.95 < share[:3].sum()
    expected = np.append(share[:3] / share[:3].sum(), 0)
    assert np.abs(counts - expected).max() < 4 * math.sqrt(0.25 / rows)
    assert counts[3] == 0


def test_the_likeliest_tokens_are_those_of_the_library(backend):
    """Without temperature, batched replies are greedy search by itself."""
    sampling = Sampling(temperature=0.0, max_tokens=8)
    replies, _ = answers(backend, [Request(prompt=prompt) for prompt in PROMPTS], sampling, [0, 0, 0])
    for prompt, reply in zip(PROMPTS, replies, strict=True):
        ids = torch.tensor([backend._ids(Request(prompt=prompt))])
        own = []
        for _ in range(8):
            token = int(backend._model(input_ids=ids).logits[0, -1].argmax())
            if token == backend._end:
                break
            own.append(token)
            ids = torch.cat([ids, torch.tensor([[token]])], dim=1)
        assert reply.text == backend._inner.decode(own, skip_special_tokens=True)
        assert reply.tokens_out == len(own)


def test_a_reply_ends_before_a_stop(backend):
    free, _ = answers(backend, [Request(prompt="one")], Sampling(max_tokens=30), [1])
    mark = free[0].text[4:6]
    stopped, _ = answers(backend, [Request(prompt="one", stop=(mark,))], Sampling(max_tokens=30), [1])
    assert stopped[0].text == free[0].text[: free[0].text.index(mark)]
    assert stopped[0].finish == "stop"


def test_a_question_without_room_for_a_reply_fails_by_itself(backend):
    replies, failures = answers(
        backend, [Request(prompt="word " * 3000), Request(prompt="one")], Sampling(max_tokens=5), [0, 0]
    )
    assert replies[1] is not None
    assert "leaves no room for a reply" in failures[0].reason


def test_a_model_without_a_template_cannot_chat(backend):
    assert not backend.supports_chat
    with pytest.raises(LLMError, match="has no chat template"):
        answers(backend, [Request(messages=(Message(role="user", content="hello"),))], Sampling(), [0])


class Letters:
    """A decoder of single words: the first class writes `red`, the second `blue`, and both what they have begun."""

    max_length = 16

    def sample(self, labels, n_fields, seed, *, top_p, begun=None, temperature=1.0):
        self.seen = (seed, top_p, temperature)
        rng = np.random.default_rng(seed % 2**32)
        made = []
        for i, label in enumerate(labels):
            first = list(begun[i][0]) if begun and begun[i] else []
            made.append(
                (np.array([*first, *[10 + label] * int(rng.integers(1, 6))]),) + (np.array([10]),) * (n_fields - 1)
            )
        return made

    def nll(self, texts, labels):
        """The more of its own words, the likelier."""
        pairs = zip(texts, labels, strict=True)
        return np.array([1 - np.mean([w == 10 + label for part in parts for w in part]) for parts, label in pairs])


VOCABULARY = {"red": 10, "blue": 11, "boat": 12, "sail": 13}


@pytest.fixture
def letters(monkeypatch):
    from tdbench.bench.models.llm.backends import task_lm as module

    names = {number: word for word, number in VOCABULARY.items()}

    def spell(source, fields, words):
        return {name: [" ".join(names[int(w)] for w in parts[i]) for parts in words] for i, name in enumerate(fields)}

    def read(source, rows):
        return [
            tuple(np.array([VOCABULARY[word] for word in part.split()], dtype=np.int64) for part in parts)
            for parts in zip(*rows.fields.values(), strict=True)
        ]

    monkeypatch.setattr(module, "text_of", spell)
    monkeypatch.setattr(module, "words_of", read)
    return TaskLMBackend(Letters(), SimpleNamespace(), ["text"], ["warm", "cold"])  # type: ignore[arg-type]


def wanted(backend, *asked, **how):
    replies, failures = answers(
        backend, [Request(prompt="x", wanted=one) for one in asked], Sampling(**how), range(len(asked))
    )
    assert not failures
    return replies


def test_the_decoder_writes_texts_of_a_class(letters):
    replies = wanted(letters, GenerationSpec(label=0, count=3), GenerationSpec(label=1), temperature=0.7, top_p=0.8)
    texts = [[one["text"] for one in json.loads(reply.text)] for reply in replies]
    assert [len(own) for own in texts] == [3, 1]
    assert all(set(text.split()) == {"red"} for text in texts[0])
    assert set(texts[1][0].split()) == {"blue"}
    assert letters._lm.seen[1:] == (0.8, 0.7)
    assert replies[0].tokens_out == sum(len(text.split()) for text in texts[0])


def test_the_decoder_chooses_what_holds_words_and_has_a_length(letters):
    (reply,) = wanted(letters, GenerationSpec(label=0, count=4, mentions=("boat", "sail"), n_words=3))
    texts = [one["text"].split() for one in json.loads(reply.text)]
    assert all({"boat", "sail"} & set(text) for text in texts)
    lengths = [len(text) for text in texts]
    assert np.mean(np.abs(np.array(lengths) - 3)) < 1.5
    assert TRIES > 2


def test_the_decoder_refines_by_the_likeliest_ending(letters):
    (reply,) = wanted(letters, GenerationSpec(kind="refine", label=0, draft=("red blue blue blue",)))
    words = json.loads(reply.text)[0]["text"].split()
    assert words[:2] == ["red", "blue"]
    assert words.count("red") / len(words) > 0.25
    (kept,) = wanted(letters, GenerationSpec(kind="refine", label=0, draft=("red red",)))
    assert json.loads(kept.text)[0]["text"].split()[0] == "red"


def test_the_decoder_names_the_class_that_a_text_is_likeliest_under(letters):
    replies = wanted(
        letters,
        GenerationSpec(kind="classify", draft=("red red blue",)),
        GenerationSpec(kind="classify", draft=("blue",)),
    )
    assert [reply.text for reply in replies] == ["warm", "cold"]
