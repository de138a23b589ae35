"""The client of language models: what is kept, what is asked, what it costs, where it stops."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest
from pydantic import ValidationError

from tdbench.bench.cost import CostMeter
from tdbench.bench.errors import LLMStopError, RecordError, UsageError
from tdbench.bench.models.llm.access import ModelName
from tdbench.bench.models.llm.backends.fake import FakeBackend
from tdbench.bench.models.llm.client import (
    LLM,
    Failure,
    GenerationSpec,
    Message,
    Reply,
    ReplyStore,
    Request,
    Sampling,
    Spending,
    cost_of,
    key_of,
)
from tdbench.bench.record import LLMCost
from tdbench.bench.settings import LLMSettings, check_values


class Counting(FakeBackend):
    """Counts what it is asked; says nothing to requests with `fail` in them."""

    def __init__(self, **more):
        self.asked = []
        super().__init__(0, ["text"], ["a", "b"], self.says, **more)

    def says(self, request, seed):
        self.asked.append(request)
        return None if "fail" in request.prompt else f"reply to {request.prompt} {seed}"


def llm_of(backend, store=None, cost=None, **limits):
    return LLM("fake", backend, store, Spending(LLMSettings(**limits)), cost or CostMeter(), paid=True)


def ask(cost, llm, *prompts, **how):
    with cost.phase("write"):
        return llm.complete([Request(prompt=prompt) for prompt in prompts], Sampling(**how))


def test_replies_are_kept_and_charged_as_if_they_had_just_been_asked_for(tmp_path):
    costs = []
    for backend in (first := Counting(), again := Counting()):
        store, cost = ReplyStore(tmp_path / "replies.sqlite"), CostMeter()
        replies = ask(cost, llm_of(backend, store, cost, price_in=1.0, price_out=2.0), "one two", "three")
        texts = [reply.text for reply in replies]
        costs.append(next(phase.llm for phase in cost.phases if phase.phase == "write"))
        store.close()
    assert (len(first.asked), len(again.asked)) == (2, 0)
    assert texts[0].startswith("reply to one two")
    assert (costs[0].calls, costs[0].calls_kept, costs[1].calls_kept) == (2, 0, 2)
    assert costs[0].usd == costs[1].usd == pytest.approx((costs[0].tokens_in + 2 * costs[0].tokens_out) / 1e6)
    assert any(phase.from_cache and phase.phase == "kept replies" for phase in cost.phases)


def test_the_same_question_is_asked_once_and_another_draw_again():
    backend, cost = Counting(), CostMeter()
    llm = llm_of(backend, cost=cost)
    with cost.phase("write"):
        requests = [Request(prompt="one", draw=draw) for draw in ("a", "a", "b")]
        texts = [reply.text for reply in llm.complete(requests, Sampling())]
    assert len(backend.asked) == 2
    assert texts[0] == texts[1] != texts[2]


def test_all_that_decides_a_reply_is_part_of_its_key():
    base = key_of({"model": "m", "url": "u"}, Request(prompt="p"), Sampling())
    others = [
        key_of({"model": "n", "url": "u"}, Request(prompt="p"), Sampling()),
        key_of({"model": "m", "url": "v"}, Request(prompt="p"), Sampling()),
        key_of({"model": "m", "url": "u"}, Request(prompt="q"), Sampling()),
        key_of({"model": "m", "url": "u"}, Request(prompt="p", draw="1"), Sampling()),
        key_of({"model": "m", "url": "u"}, Request(messages=(Message(role="user", content="p"),)), Sampling()),
        key_of({"model": "m", "url": "u"}, Request(prompt="p"), Sampling(temperature=0.5)),
        key_of({"model": "m", "url": "u"}, Request(prompt="p"), Sampling(max_tokens=5)),
        key_of({"model": "m", "url": "u"}, Request(prompt="p", stop=("###",)), Sampling()),
    ]
    assert len({base, *others}) == 9
    # What a request is after is no part of what a model reads.
    assert key_of({"model": "m", "url": "u"}, Request(prompt="p", wanted=GenerationSpec(label=1)), Sampling()) == base
    with pytest.raises(ValidationError, match="either messages"):
        Request()


def test_failures_are_returned_and_never_kept(tmp_path):
    store, cost = ReplyStore(tmp_path / "replies.sqlite"), CostMeter()
    backend = Counting()
    found = ask(cost, llm_of(backend, store, cost), "fine", "fail")
    assert isinstance(found[0], Reply)
    assert isinstance(found[1], Failure)
    ask(cost, llm_of(backend, store, cost), "fine", "fail", "fine too")
    assert [one.prompt for one in backend.asked] == ["fine", "fail", "fail", "fine too"]


def test_a_model_that_answers_nothing_ends_the_run():
    cost = CostMeter()
    with pytest.raises(LLMStopError, match="answered none of 5 questions: the script says nothing"):
        ask(cost, llm_of(Counting(), cost=cost), *(f"fail {i}" for i in range(5)))
    # A single request that a server does not like ends nothing.
    assert isinstance(ask(cost, llm_of(Counting(), cost=cost), "fail")[0], Failure)


def test_a_limit_on_calls_stops_before_it_is_passed_and_keeps_what_was_paid(tmp_path):
    backend, cost = Counting(), CostMeter()
    store = ReplyStore(tmp_path / "replies.sqlite")
    llm = llm_of(backend, store, cost, max_calls=2)
    with pytest.raises(
        LLMStopError, match=r"runtime.llm.max_calls=2 calls have been made and 1 more are needed now; raise it"
    ):
        ask(cost, llm, "one", "two", "three")
    assert len(backend.asked) == 2
    assert next(phase.llm for phase in cost.phases if phase.llm).calls == 2
    assert len(ask(cost, llm_of(backend, store, cost, max_calls=1), "one", "two", "three")) == 3
    assert len(backend.asked) == 3


def test_a_limit_on_money_stops_before_it_is_passed():
    backend, cost = Counting(), CostMeter()
    # At most 27 tokens in and 10 out, 100 dollars a million: 0.0037 a call, of which a quarter is spent.
    llm = llm_of(backend, cost=cost, max_usd=0.01, price_in=100.0, price_out=100.0)
    with pytest.raises(LLMStopError, match=r"of runtime.llm.max_usd=0.01 have been spent"):
        ask(cost, llm, *(f"question {i}" for i in range(50)), max_tokens=10)
    assert 2 <= len(backend.asked) <= 8
    assert llm.spending.usd <= 0.01
    costly = llm_of(backend, cost=cost, max_usd=0.01, price_in=100.0, price_out=100.0)
    ask(cost, costly, "short", max_tokens=10)
    with pytest.raises(LLMStopError, match="one more call may exceed it"):  # though the first was cheap
        ask(cost, costly, "long", max_tokens=100)


def test_money_is_not_guessed_where_a_server_does_not_count():
    class Uncounted(Counting):
        def answer(self, requests, sampling, seeds, on_reply):
            return super().answer(
                requests, sampling, seeds, lambda i, reply: on_reply(i, reply.model_copy(update={"tokens_out": None}))
            )

    cost = CostMeter()
    llm = llm_of(Uncounted(), cost=cost, max_usd=1.0, price_in=1.0, price_out=1.0)
    ask(cost, llm, "one")
    with pytest.raises(LLMStopError, match="does not count tokens"):
        ask(cost, llm, "two")


def test_models_of_this_machine_are_neither_priced_nor_limited():
    cost = CostMeter()
    limits = Spending(LLMSettings(max_calls=1, max_usd=1e-9, price_in=1.0, price_out=1.0))
    llm = LLM("task-lm", Counting(), None, limits, cost)
    assert len(ask(cost, llm, *map(str, range(300)))) == 300
    (phase,) = cost.phases
    assert (phase.llm.calls, phase.llm.usd, limits.n_calls) == (300, None, 0)


def test_unknown_prices_and_counts_are_unknown():
    reply = Reply(text="t", finish="stop", tokens_in=3, tokens_out=4, wall_s=0.0)
    uncounted = reply.model_copy(update={"tokens_out": None})
    assert cost_of([reply], 0, LLMSettings(), "m").usd is None
    found = cost_of([reply, uncounted], 1, LLMSettings(price_in=1, price_out=1), "m")
    assert found == LLMCost(models=("m",), calls=2, calls_kept=1, tokens_in=6, tokens_out=None, usd=None)


def test_a_damaged_store_is_said_and_not_written_over(tmp_path):
    path = tmp_path / "replies.sqlite"
    path.write_bytes(b"no database at all, and long enough to be looked at" * 30)
    with pytest.raises(RecordError, match=r"replies.sqlite cannot be read .* move it away"):
        ReplyStore(path)
    assert path.read_bytes().startswith(b"no database")


def test_the_store_holds_no_key(tmp_path, monkeypatch):
    monkeypatch.setenv("TDBENCH_LLM_KEY", "very-secret-key")
    store, cost = ReplyStore(tmp_path / "replies.sqlite"), CostMeter()
    ask(cost, llm_of(Counting(), store, cost), "one")
    store.close()
    rows = sqlite3.connect(tmp_path / "replies.sqlite").execute("SELECT * FROM replies").fetchall()
    assert len(rows) == 1
    assert "very-secret-key" not in str(rows)


@pytest.mark.parametrize(
    ("text", "prefix", "model"),
    [
        ("task-lm", "task-lm", "task-lm"),
        ("openai:qwen2.5:7b", "openai", "qwen2.5:7b"),
        ("fake:3", "fake", "3"),
        ("gpt2", "hf", "gpt2"),
        ("hf:some/model", "hf", "hf:some/model"),
    ],
)
def test_names(text, prefix, model):
    name = ModelName.parse(text)
    assert (name.prefix, name.model, name.text) == (prefix, model, text)


def test_reading_a_name_loads_no_heavy_library():
    code = (
        "import sys\nfrom tdbench.bench.models.llm.access import ModelName\nModelName.parse('gpt2')\n"
        "print(sorted({'torch', 'transformers', 'openai', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("text", ["", "gpt-4", "openai:", "hf:", "fake:x", "http://host/v1"])
def test_what_is_no_name_says_what_is(text):
    with pytest.raises(UsageError, match="give task-lm, openai:<model>"):
        ModelName.parse(text)


def test_addresses_hold_no_keys_and_messages_show_none():
    for url in (
        "http://user:hunter22@host/v1",
        "http://host/v1?api_key=hunter22",
        "http://host/v1#hunter22",
        "hunter22",
    ):
        with pytest.raises(UsageError) as error:
            check_values(LLMSettings, {"url": [url]}, "runtime.llm.")
        assert "hunter22" not in str(error.value)
    with pytest.raises(UsageError, match="TDBENCH_LLM_KEY"):
        check_values(LLMSettings, {"url": ["http://host/v1?key=x"]}, "runtime.llm.")
    with pytest.raises(UsageError, match="max_usd needs price_in and price_out"):
        check_values(LLMSettings, {"max_usd": 1.0}, "runtime.llm.")
    assert LLMSettings(url="http://host/v1/").url == ("http://host/v1",)  # type: ignore[arg-type]
