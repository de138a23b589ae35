"""Every method from end to end with a language model behind a real server on this machine: bad moments, kills, limits, refusals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

HEARING = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); runpy.run_module('tdbench', run_name='__main__')"
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
