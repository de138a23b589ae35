"""Faults that were found once and must not come back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tdbench.bench.budget import Budget
from tdbench.bench.config import settings_for
from tdbench.bench.data.loading import load_task
from tdbench.bench.data.text import LabelledText
from tdbench.bench.errors import DataError, RecordError, UsageError
from tdbench.bench.experiment.plan import Planner
from tdbench.bench.record import unpack_ints
from tdbench.bench.registry import METHODS, TASKS, Registry

ONE = ["task=agnews", "method=random", "budget=dpc10", "data.kind=standin"]


def test_moving_a_letter_between_the_fields_of_a_pair_changes_the_fingerprint():
    def fingerprint(*texts):
        fields = {name: [text] for name, text in zip(("a", "b"), texts, strict=True)}
        return LabelledText(fields, np.array([0]), ("x", "y"), np.array([0])).fingerprint

    assert len({fingerprint("xy", ""), fingerprint("x", "y"), fingerprint("", "xy"), fingerprint("x\x1ey", "")}) == 4


@pytest.mark.parametrize("method", ["herding", "kcenter"])
def test_long_texts_do_not_crowd_short_ones_out_of_a_token_budget(method):
    texts = ["w " * 60] * 56 + ["w " * 20] * 4

    class Fixed:
        identity = {"kind": "fixed"}

        def embed(self, text, cost, tick):
            return np.random.default_rng(0).normal(size=(len(text), 4)).astype(np.float32)

    from tdbench.bench.context import Context
    from tdbench.bench.cost import CostMeter

    real = LabelledText({"text": texts * 2}, np.repeat([0, 1], 60), ("x", "y"), np.arange(120))
    context = Context(0, "cpu", CostMeter(), scratch=None, make_encoder=Fixed)  # type: ignore[arg-type]
    made = METHODS.get(method)().distil(real, Budget("tok30", None, 30), context)
    assert np.bincount(made.labels_M).tolist() == [1, 1]


@pytest.mark.parametrize("text", ["AAAA", "not base 64!", ""])
def test_packed_predictions_that_cannot_be_read_are_a_record_error(text):
    with pytest.raises(RecordError):
        unpack_ints(text)


def test_broken_file_named_like_a_method_leaves_the_method_usable(tmp_path, monkeypatch):
    (tmp_path / "kmeans.py").write_text("raise OSError('disk on fire')")
    (tmp_path / "leaves.py").write_text("import sys; sys.exit(3)")
    monkeypatch.setenv("TDBENCH_PLUGINS", f"{tmp_path / 'kmeans.py'}:{tmp_path / 'leaves.py'}")
    registry = Registry("method", METHODS._base, "tdbench.methods")
    assert registry.get("kmeans").name == "kmeans"
    reasons = [entry.error for entry in registry.entries().values() if entry.error]
    assert any("disk on fire" in reason for reason in reasons)
    assert any("SystemExit" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("overrides", "multirun", "message"),
    [
        (["task=glob(*)", "method=random"], True, "list the values"),
        (["task=agnews", "method=[random,kmeans]"], False, "-m method=A,B"),
        (["task=null"], False, "task=None is no name"),
        ([*ONE, "protocol=smoke", "protocol.lr.minilm=1e-3"], False, "add it with \\+\\+protocol.lr.minilm"),
    ],
)
def test_odd_overrides_get_a_message_of_our_own(overrides, multirun, message):
    with pytest.raises(UsageError, match=message):
        settings_for(overrides, multirun)


def test_empty_list_of_learners_is_refused():
    with pytest.raises(UsageError, match="names no learner"):
        Planner().plan(settings_for([*ONE, "learners=[]"]))


def test_titles_that_are_numbers_are_a_data_error(tmp_path):
    folder = tmp_path / "ag_news"
    folder.mkdir()
    frame = pd.DataFrame({"title": np.arange(40.0), "description": ["d"] * 40, "label": [0, 1, 2, 3] * 10})
    for split in ("train", "test"):
        frame.to_parquet(folder / f"{split}.parquet")
    with pytest.raises(DataError, match="wrong type"):
        load_task(TASKS.get("agnews")(), "local", tmp_path)


def test_busy_or_silent_hub_costs_seconds_not_minutes(monkeypatch):
    import threading
    import time
    from http.server import BaseHTTPRequestHandler, HTTPServer

    from tdbench.bench.data import sources

    class Overloaded(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(503)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Overloaded)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    began = time.monotonic()
    assert not sources.hub_reachable.__wrapped__()
    server.shutdown()
    server.server_close()
    assert time.monotonic() - began < 5


def test_hub_that_accepts_and_never_answers_is_given_up_on(monkeypatch):
    import socket
    import time

    from tdbench.bench.data import sources

    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        began = time.monotonic()
        assert not sources.hub_reachable.__wrapped__()
        assert time.monotonic() - began < 4
