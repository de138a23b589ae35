"""Language models behind a real server on this machine: what goes wrong there, kills, keys, and every method from end to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from bench.cost import CostMeter
from bench.errors import LLMStopError, PrerequisiteError
from bench.models.llm.asks import Ask, Failure, Message, Reply, Sampling
from bench.models.llm.client import LLM
from bench.models.llm.openai_backend import OpenAIBackend
from bench.models.llm.reply_store import ReplyStore
from bench.models.llm.spending import Spending
from bench.settings import LLMSettings
from bench.testing.tiny import tiny_generator
from tests.llm_server import MODEL, Server, continued_by

FAST = {"timeout_s": 1.0, "retries": 3}
HEARING = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); runpy.run_module('bench', run_name='__main__')"
"""Runs the command line such that it hears SIGINT, to which jobs in the background are started deaf."""
SETUP = (
    "task=sst2",
    "protocol=smoke",
    "learners=[bow-logreg]",
    "data.kind=standin",
    "budget=dpc5",
    "sets=1",
    "--no-board",
)
SMALL = ("method.per_ask=2", "method.max_tokens=40", "method.check=none")


def stories() -> str:
    """Returns the folder of a small real language model, or of a random one where there is none."""
    folder = Path(os.environ.get("TDBENCH_MODELS", "/nowhere")) / "stories260k"
    return str(folder) if folder.is_dir() else tiny_generator().removeprefix("hf:")


@pytest.fixture
def serve():
    running = []

    def start(answer=None, **how):
        running.append(Server(answer or (lambda asked, body: f"reply to {asked} {body['seed']}"), **how))
        return running[-1]

    yield start
    for server in running:
        server.close()


@pytest.fixture(scope="module")
def storyteller():
    return continued_by(stories())


def ask(server, *prompts, store=None, chat=False, **settings):
    backend = OpenAIBackend(MODEL, LLMSettings(url=(server.url,), **{**FAST, **settings}))
    llm = LLM("openai:stories", backend, store, Spending(backend._settings), CostMeter())
    asks = [Ask(messages=(Message(role="user", content=one),)) if chat else Ask(prompt=one) for one in prompts]
    with llm.cost.phase("write"):
        return llm.ask(asks, Sampling(max_tokens=30))


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
    questions = list(map(str, range(40)))
    with pytest.raises(LLMStopError, match=r"answered none of 40 questions: the server 127.0.0.1: .*429"):
        ask(server := serve(faults=["429"] * 500), *questions, retries=1)
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
    assert backend.served["url"] == own.url
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


def sets_of(folder: Path):
    records = [json.loads(path.read_text()) for path in (folder / "runs" / "distil").glob("*/record.json")]
    assert records
    return records


METHODS = {
    "simprompt": (),
    "fewshot": (),
    "attrprompt": (),
    "bare": ("method.base=openai:stories",),
    "synalign": ("method.over=2", "method.least=4"),
    "synthllm": ("method.documents=6",),
}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", METHODS)
def test_every_method_works_behind_a_server_that_has_bad_moments(name, serve, storyteller, tdbench, tmp_path):
    server = serve(storyteller, faults=["429", None, "garbled", "500", None, "odd", "cut"])
    words = (
        *SETUP,
        f"method={name}",
        "method.llm=openai:stories",
        f"runtime.llm.url={server.url}",
        *SMALL,
        *METHODS[name],
    )
    done = tdbench("run", *words)
    assert done.returncode == 0, done.stderr
    (record,) = sets_of(tmp_path)
    assert record["distil"]["n_rows"] == 10
    calls = [phase["llm"] for phase in record["cost"] if phase["llm"]]
    assert sum(one["calls"] for one in calls) == sum(server.answered.values())
    assert max(server.answered.values()) == 1
    # What is continued ends where an example would end, whoever answers.
    assert all(body["stop"] == ["###"] for body in map(json.loads, server.answered) if "prompt" in body)
    assert {one["usd"] for one in calls} == {None}
    text = json.dumps(record)
    assert server.url not in text
    assert "127.0.0.1" not in text
    total = sum(server.answered.values())
    again = tdbench("run", *words, "runtime.force=true")
    assert again.returncode == 0, again.stderr
    assert sum(server.answered.values()) == total


@pytest.mark.timeout(400)
@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL])
def test_a_kill_in_the_middle_costs_no_reply_twice(kill, serve, storyteller, clean_environment, tmp_path):
    server = serve(storyteller)
    server.delay_s = 0.1
    words = (
        *(word.replace("dpc5", "dpc10") for word in SETUP),
        "method=fewshot",
        "method.llm=openai:stories",
        f"runtime.llm.url={server.url}",
        *SMALL,
    )
    command = [sys.executable, "-c", HEARING, "run", *words, "runtime.llm.parallel=2", "runtime.retry=true"]
    environment = {**clean_environment, "HF_HOME": str(tmp_path / "hf")}
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while sum(server.answered.values()) < 4 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(kill)
    process.wait(timeout=60)
    before = sum(server.answered.values())
    assert 4 <= before < 20
    assert process.returncode != 0
    done = subprocess.run(
        command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    twice = sum(count - 1 for count in server.answered.values())
    # What was on its way when the process was shot is lost; a process that was asked to end waits for it.
    assert twice <= (2 if kill == signal.SIGKILL else 0)
    (record,) = [one for one in sets_of(tmp_path) if one["status"] == "ok"]
    kept = sum(phase["llm"]["calls_kept"] for phase in record["cost"] if phase["llm"])
    assert kept >= before - 2


def test_too_few_usable_texts_fail_with_the_reasons(serve, tdbench):
    server = serve(lambda asked, body: "I'm sorry, I cannot help with that.")
    done = tdbench(
        "run", *SETUP, "method=simprompt", "method.llm=openai:stories", f"runtime.llm.url={server.url}", *SMALL
    )
    assert done.returncode == 1
    assert "gave 0 of 5 usable texts of class 'negative'" in done.stderr
    assert "refused" in done.stderr


def test_a_limit_stops_the_command_and_a_higher_one_goes_on(serve, storyteller, tdbench, tmp_path):
    server = serve(storyteller)
    words = (
        *SETUP,
        "method=fewshot",
        "method.llm=openai:stories",
        f"runtime.llm.url={server.url}",
        *SMALL,
        "runtime.retry=true",
    )
    done = tdbench("run", *words, "runtime.llm.max_calls=1")
    assert done.returncode == 1
    assert "raise it. The same command goes on from here: replies are kept" in done.stderr
    assert sum(server.answered.values()) == 1
    assert not list((tmp_path / "runs" / "distil").glob("*/record.json"))
    assert tdbench("run", *words, "runtime.llm.max_calls=50").returncode == 0
    assert max(server.answered.values()) == 1


def test_an_answer_that_takes_too_long_is_asked_for_again_and_the_quota_is_met(serve, tdbench, tmp_path):
    def answer(asked, body):
        return json.dumps([{"sentence": f"number {body['seed']} of {n} films"} for n in (2, 7)])

    server = serve(answer, faults=[None, "slow", None, "slow"])
    words = (*SETUP, "method=fewshot", "method.llm=openai:stories", f"runtime.llm.url={server.url}", *SMALL)
    done = tdbench("run", *words, "runtime.llm.timeout_s=1.5")
    assert done.returncode == 0, done.stderr
    (record,) = sets_of(tmp_path)
    assert record["distil"]["n_rows"] == 10
    # A server may answer, and bill, what nobody waits for any more; nothing else is asked twice.
    assert sum(count - 1 for count in server.answered.values()) <= 2


def test_texts_that_the_model_puts_into_another_class_are_thrown_away(serve, tdbench, tmp_path):
    def answer(asked, body):
        if "Which of these classes" in asked:
            return "1" if "dreary" in asked else "2"
        number = body["seed"] % 1_000_003
        return json.dumps([{"sentence": f"a {mood} film number {number}{mood}"} for mood in ("dreary", "lovely")])

    server = serve(answer)
    words = (*SETUP, "method=simprompt", "method.llm=openai:stories", f"runtime.llm.url={server.url}")
    done = tdbench("run", *words, "method.per_ask=2", "method.max_tokens=40", "method.check=asked")
    assert done.returncode == 0, done.stderr
    (record,) = sets_of(tmp_path)
    assert record["distil"]["rows_per_class"] == [5, 5]
    assert record["distil"]["diagnostics"]["thrown_away_of_another_class_frac"] == pytest.approx(0.5, abs=0.1)
    texts = pd.read_parquet(next((tmp_path / "runs" / "distil").glob("*/distilled.parquet")))
    for label, mood in ((0, "dreary"), (1, "lovely")):
        assert all(mood in text for text in texts.loc[texts["label"] == label, "sentence"])
