"""Reading replies: right JSON, nearly right JSON, lines, refusals, and what must not hang."""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tdbench.bench.models.llm.client import Reply, Request
from tdbench.bench.models.llm.parsing import read_object, read_reply, read_texts

ONE, PAIR = ("text",), ("premise", "hypothesis")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ('[{"text": "a b"}, {"text": "c"}]', ["a b", "c"]),
        ('```json\n[{"text": "a"}]\n```', ["a"]),
        ('Sure! Here they are:\n{"text": "a {with} braces"}\n{"text": "b"}\nEnjoy.', ["a {with} braces", "b"]),
        ('[{"text": "a"}, {"text": "b"}, {"text": "cut o', ["a", "b"]),
        ('[{"text": "a",}, {"text": "b",},]', ["a", "b"]),
        ("[{'text': 'it\\'s a'}]", ["it's a"]),
        ("[{\u201ctext\u201d: \u201ca\u201d}]", ["a"]),
        ('["a", "b"]', ["a", "b"]),
        ('{"TEXT": "a"}', ["a"]),
        ('{"label": "sports", "sentence": "the longest text"}', ["the longest text"]),
        ('{"samples": [{"text": "a"}, {"text": "b"}]}', ["a", "b"]),
        ('{"texts": ["a", "b"]}', ["a", "b"]),
        ('[{"text": "I am sorry, I will call you later"}]', ["I am sorry, I will call you later"]),
        ('[{"text": "I can\'t do this anymore"}]', ["I can't do this anymore"]),
        ("1. first\n2) second\n(3) third", ["first", "second", "third"]),
        ("Here are two:\n- first\n* second", ["first", "second"]),
        ('text: "just one"', ["just one"]),
        ('{"text": "two\\nlines  and   blanks"}', ["two lines and blanks"]),
    ],
)
def test_texts_of_one_field(reply, expected):
    assert [text for (text,) in read_texts(reply, ONE, "json").texts] == expected


def test_texts_of_two_fields():
    good = '[{"premise": "p", "hypothesis": "h"}, {"premise": "only"}]'
    parsed = read_texts(good, PAIR, "json")
    assert parsed.texts == [("p", "h")]
    assert parsed.rejected == Counter({"unreadable": 1})
    plain = read_texts(" a man walks\nhypothesis: he moves\nmore", PAIR, "plain")
    assert plain.texts == [("a man walks", "he moves")]
    assert read_texts("nothing of the kind", PAIR, "plain").rejected == Counter({"unreadable": 1})


@pytest.mark.parametrize(
    ("reply", "form", "reason"),
    [
        ("I'm sorry, but I can't help with that.", "json", "refused"),
        ('{"text": "  "}', "json", "an empty field"),
        ("", "json", "unreadable"),
        ("", "plain", "an empty field"),
        ('{"text": "' + "x" * 30_000 + '"}', "json", "too long"),
        ('{"a": 1}', "json", "unreadable"),
    ],
)
def test_what_cannot_be_used_is_named(reply, form, reason):
    parsed = read_texts(reply, ONE, form)
    assert parsed.texts == []
    assert parsed.rejected == Counter({reason: 1})


def test_a_plain_reply_is_the_text():
    assert read_texts('  "A text."\n', ONE, "plain").texts == [("A text.",)]


def test_the_first_object():
    assert read_object('Of course: {"tone": "dry", "length": 12} and {"x": 1}') == {"tone": "dry", "length": 12}
    assert read_object("none") is None


@pytest.mark.parametrize("reply", ["[" * 50_000, "{" * 50_000, '{"a":' * 20_000, '"' * 50_000, "[" + "{'a': " * 5_000])
def test_brackets_without_end_take_no_time(reply):
    started = time.perf_counter()
    read_texts(reply, ONE, "json")
    assert time.perf_counter() - started < 5


@settings(max_examples=1_000, deadline=None)
@example("{[]}")
@example("{[1]: 2}")
@given(st.text(alphabet=st.sampled_from('{}[]",:\\ \nab1'), max_size=60))
def test_no_reply_is_an_error(reply):
    for form in ("json", "plain"):
        for fields in (ONE, PAIR):
            for text in read_texts(reply, fields, form).texts:
                assert len(text) == len(fields)
                assert all(part.strip() for part in text)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=30).filter(lambda text: text.split()), min_size=1, max_size=5))
def test_json_comes_back_as_it_was(texts):
    parsed = read_texts(json.dumps([{"text": text} for text in texts]), ONE, "json")
    assert [text for (text,) in parsed.texts] == [" ".join(text.split()) for text in texts]


def test_a_plain_reply_that_was_cut_off_ends_with_its_last_sentence():
    def read(text, finish, form):
        reply = Reply(text=text, finish=finish, tokens_in=1, tokens_out=1, wall_s=0.0)
        return [text for (text,) in read_reply(Request(prompt="p", form=form), reply, ONE).texts]

    assert read("One. Two! And a th", "length", "plain") == ["One. Two!"]
    assert read("And a th", "length", "plain") == []
    assert read("One. And a third", "stop", "plain") == ["One. And a third"]
    assert read('["One. Two"]', "length", "json") == ["One. Two"]
