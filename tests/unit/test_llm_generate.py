"""Filling classes with texts: asking on, throwing away, and saying why there are too few."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tdbench.bench.cost import CostMeter
from tdbench.bench.errors import LLMError
from tdbench.bench.models.llm.backends.fake import FakeBackend
from tdbench.bench.models.llm.client import LLM, GenerationSpec, Message, Request, Sampling, Spending
from tdbench.bench.models.llm.generate import ClassCheck, GenerationConfig, copies, generate
from tdbench.bench.models.llm.prompts import PromptSpec, TaskWords, named_class, request_for_texts
from tdbench.bench.settings import LLMSettings

WORDS = TaskWords("a text", "texts", ("about a", "about b"), ("text",), ("alpha", "beta"))
LONG = "one two three four five six seven eight nine"


def llm_of(script=None):
    cost = CostMeter()
    return LLM("fake", FakeBackend(0, ["text"], ["alpha", "beta"], script), None, Spending(LLMSettings()), cost)


def generated(script, per_class=4, shown=(), **how):
    llm = llm_of(script)

    def build_request(label, number):
        return request_for_texts(llm, WORDS, PromptSpec(label, 2), f"{label} {number}"), shown

    with llm.cost.phase("write"):
        values = {"per_request": 2, "check": None, "embed": None, **how}
        return generate(llm, WORDS, build_request, GenerationConfig(per_class, Sampling(), **values))


def listed(*texts):
    return json.dumps([{"text": text} for text in texts])


def fresh(seed, n=2):
    words = "".join(map(str, [seed]))
    return [f"{words}{i} apple{seed}{i} pear{seed * 7}{i} plum{i}{seed}" for i in range(n)]


def test_every_class_gets_what_is_wanted():
    pool = generated(None, per_class=7)
    rows = pool.rows(WORDS)
    assert rows.labels_N.tolist() == [0] * 7 + [1] * 7
    assert all(text.startswith("alpha") for text in rows.fields["text"][:7])
    assert len(set(rows.fields["text"])) == 14


def test_it_asks_on_where_replies_fail_or_cannot_be_read():
    count = iter(range(1000))

    def script(request, seed):
        kind = next(count) % 4
        return (None, "no list at all:", "I'm sorry, I cannot", listed(*fresh(seed)))[kind]

    pool = generated(script, per_class=6, most=12)
    assert len(pool.texts) == 12
    assert {"no reply", "unreadable", "refused"} <= set(pool.rejected)


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (("the same old text here", "THE same  old text here"), "a repeat"),
        ((f"{LONG} ten eleven twelve thirteen", f"{LONG} ten eleven twelve fourteen"), "like another"),
    ],
)
def test_repeats_are_thrown_away(texts, reason):
    with pytest.raises(LLMError, match=reason):
        generated(lambda request, seed: listed(*texts), per_class=5)


def test_copies_of_what_was_shown_are_thrown_away():
    def script(request, seed):
        return listed(f"well, {LONG} and on {seed}", *fresh(seed, 1))

    pool = generated(script, shown=((f"before {LONG} after",),))
    assert pool.rejected["copied"] > 0
    assert not any(LONG in text for (text,) in pool.texts)
    assert copies("a b", ["a b"])
    assert not copies("one two three four five six seven", [LONG])
    assert copies("two three four five six seven eight nine!", [LONG + "!"])


def test_texts_whose_features_are_the_same_are_thrown_away():
    def embed(rows):
        return np.tile([1.0, 0.0], (len(rows), 1))

    with pytest.raises(LLMError, match="like another"):
        generated(lambda request, seed: listed(*fresh(seed)), embed=embed)


def test_texts_of_other_classes_are_thrown_away():
    def script(request, seed):
        if request.wanted.kind == "classify":
            return "It is beta." if request.wanted.draft[0].endswith("!") else ("alpha", "beta")[request.wanted.label]
        return listed(*(text + "!" * (i % 2) for i, text in enumerate(fresh(seed))))

    llm = llm_of(script)
    check = ClassCheck(llm, WORDS)
    with llm.cost.phase("check"):
        right = check([("a!",), ("a",), ("b!",)], np.array([0, 0, 1]))
    assert right.tolist() == [1, 0, 1]


def test_too_few_texts_are_an_error_that_says_why():
    with pytest.raises(LLMError) as error:
        generated(lambda request, seed: "nothing of use:", per_class=4)
    text = str(error.value)
    assert "fake gave 0 of 4 usable texts of class 'alpha' in 4 times the requests that would do" in text
    assert "unreadable" in text
    assert "method.per_ask" in text


def test_reworked_texts_take_the_place_of_the_first_ones():
    def rewriter(texts, labels, shown):
        return ["no reply" if i % 2 else (f"better {text[0]}",) for i, text in enumerate(texts)]

    pool = generated(lambda request, seed: listed(*fresh(seed)), rewriter=rewriter)
    assert all(text.startswith("better ") for (text,) in pool.texts)
    assert pool.rejected["no reply"] > 0


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ("alpha", 0),
        ("Beta.", 1),
        ('"beta"', 1),
        ("The class is: alpha", 0),
        ("1", 0),
        ("2. beta", 1),
        ("3", None),
        ("alpha or beta", None),
        ("not beta", None),
        ("It is not alpha but beta", None),
        ("gamma", None),
    ],
)
def test_named_classes(reply, label):
    assert named_class(WORDS, reply) == label


def test_a_name_within_another_is_not_taken_for_it():
    words = TaskWords("a mail", "mails", ("fine", "spam"), ("text",), ("non-spam", "spam"))
    assert named_class(words, "non-spam") == 0
    assert named_class(words, "spam") == 1
    assert named_class(words, "It is non-spam") == 0
    assert named_class(words, "Non spam.") == 0
    ham = TaskWords("a message", "messages", ("fine", "spam"), ("text",), ("ham", "spam"))
    for denied in ("Not spam", "This is not spam.", "non-spam", "no spam"):
        assert named_class(ham, denied) is None
    news = TaskWords("an item", "items", ("world", "tech"), ("text",), ("World", "Sci/Tech"))
    assert named_class(news, "Sci-Tech") == 1


def test_models_that_continue_texts_are_asked_for_one_behind_examples():
    class Base(FakeBackend):
        supports_chat = False

    llm = LLM("base", Base(0, ["text"], ["alpha", "beta"]), None, Spending(LLMSettings()), CostMeter())
    request = request_for_texts(llm, WORDS, PromptSpec(1, 10, (("an example",),), concepts=("boats",)), "0")
    assert request.mode == "complete"
    assert request.wanted == GenerationSpec(label=1, count=1, mentions=("boats",))
    assert request.prompt.startswith("Texts about b.")
    assert "an example\n###" in request.prompt
    assert request.prompt.endswith("about: boats\n")
    assert isinstance(request, Request)
    chat = request_for_texts(llm_of(), WORDS, PromptSpec(1, 10, (("an example",),), {"tone": "dry"}, n_words=12), "0")
    (message,) = chat.messages
    assert isinstance(message, Message)
    for part in (
        "Write 10 different texts about b.",
        "tone: dry",
        "About 12 words each",
        '{"text": "an example"}',
        "JSON list of 10",
    ):
        assert part in message.content
