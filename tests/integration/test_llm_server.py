"""Language models behind a real server on this machine: what the client does when things go wrong there, and where keys go."""

from __future__ import annotations

import pytest

from tdbench.bench.cost import CostMeter
from tdbench.bench.errors import LLMStopError, PrerequisiteError
from tdbench.bench.models.llm.backends.openai import OpenAIBackend
from tdbench.bench.models.llm.client import LLM, Failure, Message, Reply, ReplyStore, Request, Sampling, Spending
from tdbench.bench.settings import LLMSettings
from tests.llm_server import MODEL

FAST = {"timeout_s": 1.0, "retries": 3}


def ask(server, *prompts, store=None, chat=False, **settings):
    backend = OpenAIBackend(MODEL, LLMSettings(url=(server.url,), **{**FAST, **settings}))
    llm = LLM("openai:stories", backend, store, Spending(backend._settings), CostMeter())
    requests = [
        Request(messages=(Message(role="user", content=one),)) if chat else Request(prompt=one) for one in prompts
    ]
    with llm.cost.phase("write"):
        return llm.complete(requests, Sampling(max_tokens=30))


@pytest.mark.parametrize("chat", [True, False])
def test_it_completes_and_chats(serve, chat):
    server = serve()
    (reply,) = ask(server, "hello", chat=chat)
    assert isinstance(reply, Reply)
    assert reply.text.startswith("reply to hello")
    assert (reply.tokens_in, reply.served_by) == (1, MODEL)


def test_a_real_model_answers(serve, storyteller):
    (reply,) = ask(serve(storyteller), "Once upon a time")
    assert isinstance(reply, Reply)
    assert len(reply.text.split()) > 2


@pytest.mark.parametrize("fault", ["429", "500", "slow", "garbled", "odd", "cut"])
def test_what_passes_is_tried_again(serve, fault):
    server = serve(faults=[fault, fault])
    (reply,) = ask(server, "hello")
    assert isinstance(reply, Reply), reply
    assert server.n_requests == 3


@pytest.mark.parametrize(("fault", "text"), [("401", "wrong key"), ("404", "no"), ("403", "no")])
def test_what_does_not_pass_is_not(serve, fault, text):
    server = serve(faults=[fault] * 20)
    with pytest.raises(LLMStopError, match=f"the server 127.0.0.1 refuses model 'stories': .*{text}"):
        ask(server, "hello", *map(str, range(10)), parallel=1)
    assert server.n_requests == 1


def test_one_bad_question_does_not_end_the_others(serve, tmp_path):
    server = serve(faults=["400"])
    store = ReplyStore(tmp_path / "replies.sqlite")
    first, second = ask(server, "bad", "good", parallel=1, store=store)
    assert isinstance(first, Failure)
    assert isinstance(second, Reply)
    assert isinstance(ask(server, "bad", "good", store=store)[0], Reply)
    assert server.n_requests == 3


def test_faults_without_end_are_an_error(serve):
    questions, server = list(map(str, range(40))), serve(faults=["429"] * 500)
    with pytest.raises(LLMStopError, match=r"answered none of 40 questions: the server 127.0.0.1: .*429"):
        ask(server, *questions, retries=1)
    assert server.n_requests <= 2 * 16  # the rest is not asked
    with pytest.raises(LLMStopError, match="sends what is no answer"):
        ask(serve(faults=["garbled"] * 500), *questions)


def test_a_server_that_wants_another_word_for_the_limit_gets_it_from_all_calls(serve):
    def answer(asked, body):
        assert "max_completion_tokens" in body
        return "fine"

    server = serve(answer)
    server.wants_completion_tokens = True
    replies = ask(server, *map(str, range(16)), chat=True)
    assert all(isinstance(reply, Reply) for reply in replies)


def test_a_server_that_is_not_there_is_said():
    gone = type("Gone", (), {"url": "http://127.0.0.1:9/v1"})
    with pytest.raises(LLMStopError, match=r"the server 127.0.0.1: Connection error"):
        ask(gone, *map(str, range(5)), retries=0)


def test_as_many_at_a_time_as_are_allowed(serve):
    server = serve()
    server.delay_s = 0.05
    ask(server, *map(str, range(24)), parallel=4)
    assert 2 <= server.most_at_once <= 4


def test_the_server_that_has_the_model_is_found(serve):
    other, own = serve(model="another"), serve()
    backend = OpenAIBackend(MODEL, LLMSettings(url=(other.url, own.url), **FAST))
    assert backend.backend_id["url"] == own.url
    with pytest.raises(PrerequisiteError, match=r"no server of runtime.llm.url has a model 'third'.*another.*stories"):
        OpenAIBackend("third", LLMSettings(url=(other.url, own.url), **FAST))


def test_keys_go_where_they_belong_and_are_never_shown(serve, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai-1234567890")
    monkeypatch.setenv("TDBENCH_LLM_KEY", "key-of-the-node")
    server = serve(key="key-of-the-node")
    ask(server, "hello")
    assert server.keys == {"Bearer key-of-the-node"}
    monkeypatch.setenv("TDBENCH_LLM_KEY", "a-wrong-secret")
    with pytest.raises(LLMStopError, match=r"wrong key Bearer \[key\]") as error:
        ask(server, "hello")
    assert "a-wrong-secret" not in str(error.value)
    monkeypatch.delenv("TDBENCH_LLM_KEY")
    with pytest.raises(LLMStopError):
        ask(server, "again")
    assert not any("openai" in key for key in server.keys)


def test_without_address_and_key_it_says_what_to_set(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "TDBENCH_LLM_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(PrerequisiteError, match=r"runtime.llm.url=http://localhost:11434/v1"):
        OpenAIBackend("m", LLMSettings())
