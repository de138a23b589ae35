"""The oracle: exact answers without noise, the right noise with it, and a ledger that cannot be cheated through the API."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from tdbench.bench.cost import CostMeter
from tdbench.bench.data.text import LabelledText
from tdbench.bench.errors import PluginError, UsageError
from tdbench.bench.privacy.oracle import PrivateOracle, Query
from tdbench.bench.testing.private import HashedEncoder
from tdbench.bench.testing.texts import small_task
from tests.unit.tiny_models import context

ROWS = small_task("four classes").train
CANDIDATES = small_task("four classes").test


def oracle(epsilon: float, rows: LabelledText = ROWS, seed: int = 0, **options: Any) -> PrivateOracle:
    settings = {"group": 1, "noise_only": False, **options}
    return PrivateOracle(rows, epsilon, 1e-5, ctx=context(seed), **settings)


def answers(epsilon: float, rows: LabelledText = ROWS, seed: int = 0, **options: Any) -> dict[str, np.ndarray]:
    asked = oracle(epsilon, rows, seed, **options)
    asked.allocate(Query("sums"), Query("votes", steps=2), Query("counts", kind="laplace"))
    sums_CD, counts_C = asked.class_sums("sums", 0.5)
    votes_CM = asked.votes("votes", asked.embed(CANDIDATES))
    return {"sums": sums_CD, "sizes": counts_C, "votes": votes_CM, "counts": asked.class_counts("counts")}


def features(rows: LabelledText) -> np.ndarray:
    return HashedEncoder().embed(rows, CostMeter())


def test_without_noise_the_answers_are_those_of_a_loop_over_rows():
    found, features_ND, candidates_MD = answers(np.inf), features(ROWS), features(CANDIDATES)
    sums, votes, counts = np.zeros((4, 24)), np.zeros((4, len(CANDIDATES))), np.zeros(4)
    for feature, label in zip(features_ND, ROWS.labels_N, strict=True):
        sums[label] += feature
        counts[label] += 1
        votes[label, int(np.argmax([feature @ candidate for candidate in candidates_MD]))] += 1
    assert found["sums"] == pytest.approx(sums, abs=1e-5)
    assert found["sizes"] == pytest.approx(counts)
    assert found["counts"] == pytest.approx(counts)
    assert found["votes"] == pytest.approx(votes)


def test_one_row_changes_no_sum_by_more_than_its_sensitivity():
    whole = answers(np.inf)
    for out in (0, 17, 101):
        rest = answers(np.inf, ROWS.take(np.delete(np.arange(len(ROWS)), out)))
        sums = np.concatenate([(whole["sums"] - rest["sums"]).ravel(), 0.5 * (whole["sizes"] - rest["sizes"])])
        assert np.linalg.norm(sums) <= np.sqrt(1 + 0.5**2) * (1 + 1e-5)
        assert np.abs(whole["votes"] - rest["votes"]).sum() == 1
        assert np.abs(whole["counts"] - rest["counts"]).sum() == 1


def test_a_class_votes_only_for_candidates_that_are_open_to_it():
    asked = oracle(np.inf)
    asked.allocate(Query("votes"))
    open_CM = np.zeros((4, len(CANDIDATES)), dtype=bool)
    open_CM[0, :5] = open_CM[2, 5:9] = True
    votes_CM = asked.votes("votes", asked.embed(CANDIDATES), open_CM)
    assert np.isnan(votes_CM).sum() == open_CM.size - 9
    assert np.nansum(votes_CM, axis=1).tolist() == [(ROWS.labels_N == 0).sum(), 0, (ROWS.labels_N == 2).sum(), 0]


def test_the_noise_has_the_planned_spread_and_law():
    asked = oracle(1.0, noise_only=True)
    asked.allocate(Query("sums"), Query("votes", weight=2.0), Query("counts", kind="laplace"))
    assert asked.ledger.noise["sums"].noise == pytest.approx(2 * asked.ledger.noise["votes"].noise)
    draws = np.concatenate([answers(1.0, seed=seed, noise_only=True)["votes"].ravel() for seed in range(20)])
    planned = oracle(1.0)
    planned.allocate(Query("sums"), Query("votes", steps=2), Query("counts", kind="laplace"))
    assert stats.kstest(draws, stats.norm(scale=planned.ledger.noise["votes"].noise).cdf).pvalue > 0.01
    sums = np.concatenate([answers(1.0, seed=seed, noise_only=True)["sums"].ravel() for seed in range(20)])
    spread = planned.ledger.noise["sums"].noise * np.sqrt(1 + 0.5**2)
    assert stats.kstest(sums, stats.norm(scale=spread).cdf).pvalue > 0.01
    counts = np.concatenate([answers(1.0, seed=seed, noise_only=True)["counts"] for seed in range(300)])
    assert stats.kstest(counts, stats.laplace(scale=planned.ledger.noise["counts"].noise).cdf).pvalue > 0.01


def test_noise_is_added_to_the_exact_answer_and_differs_between_sets():
    exact, noisy, noise = answers(np.inf), answers(1.0), answers(1.0, noise_only=True)
    for name in ("sums", "votes", "counts"):
        assert noisy[name] - noise[name] == pytest.approx(exact[name], abs=1e-4)
    assert not np.allclose(answers(1.0, seed=1)["votes"], noisy["votes"])


def test_two_runs_of_which_anything_differs_share_no_noise(tmp_path, monkeypatch):
    # Otherwise the difference of two releases, at two budgets say, would be free of noise.
    from tdbench.bench.config import settings_for
    from tdbench.bench.experiment.contexts import Workspace, context_of
    from tdbench.bench.experiment.executor import Executor
    from tdbench.bench.experiment.plan import Planner
    from tdbench.bench.experiment.results import Results
    from tdbench.bench.models.llm.client import Spending
    from tdbench.bench.privacy.oracle import SECRET_VARIABLE, noise_for
    from tdbench.bench.progress import Reporter
    from tdbench.bench.settings import LLMSettings

    names = []
    words = ["task=sst2", "protocol=lite-v1", "data.kind=standin", f"runtime.root={tmp_path}", "sets=2"]
    for more in (
        ["method=dp_pe", "budget=dpc10"],
        ["method=dp_pe", "budget=dpc5"],
        ["method=dp_pe", "budget=dpc10", "method.epsilon=1"],
        ["method=dp_pe-noise", "budget=dpc10"],
        ["method=dp_mean_match", "budget=dpc10"],
    ):
        runs = settings_for([*words, *more])
        inputs, spending = Executor(Results(tmp_path), runs[0].runtime, Reporter()), Spending(LLMSettings())
        for job, _ in Planner().plan(runs).cells:
            ctx = context_of(job, Workspace(inputs, tmp_path, tmp_path, "cpu", lambda _: None, spending), CostMeter())
            names.append((ctx.noise_name, ctx.seed))
            assert job.data.fingerprint not in ctx.noise_name
    draws = {round(float(noise_for(*name).stream.random()), 12) for name in names}
    assert len(draws) == len(names) == 10
    public = noise_for(*names[0])
    monkeypatch.setenv(SECRET_VARIABLE, "known to the maker alone")
    secret = noise_for(*names[0])
    assert float(secret.stream.random()) not in draws
    assert public.description != secret.description


def test_the_features_of_the_rows_are_paid_for_once():
    calls: list[int] = []

    class Counted(HashedEncoder):
        def embed(self, text: LabelledText, cost: CostMeter, tick: Any = lambda _: None) -> np.ndarray:
            calls.append(len(text))
            return super().embed(text, cost, tick)

    asked = PrivateOracle(ROWS, 1.0, 1e-5, group=1, noise_only=False, ctx=context(encoder=Counted))
    asked.allocate(Query("votes", steps=3), Query("sums"))
    candidates_MD = asked.embed(CANDIDATES)
    for _ in range(3):
        asked.votes("votes", candidates_MD)
    asked.class_sums("sums")
    assert calls.count(len(ROWS)) == 1


def test_features_are_bounded_whatever_the_encoder_says():
    class Loud(HashedEncoder):
        def embed(self, text: LabelledText, cost: CostMeter, tick: Any = lambda _: None) -> np.ndarray:
            made = 12 * super().embed(text, cost, tick)
            made[0] = np.nan
            return made

    asked = PrivateOracle(ROWS, np.inf, 1e-5, group=1, noise_only=False, ctx=context(encoder=Loud))
    asked.allocate(Query("sums"))
    sums_CD, _ = asked.class_sums("sums")
    expected = np.zeros_like(sums_CD)
    for feature, label in zip(features(ROWS)[1:], ROWS.labels_N[1:], strict=True):
        expected[label] += feature
    assert sums_CD == pytest.approx(expected, abs=1e-4)


def test_the_ledger_holds_what_was_asked():
    asked = oracle(2.0)
    asked.allocate(Query("sums"), Query("votes", steps=3))
    asked.class_sums("sums")
    asked.votes("votes", asked.embed(CANDIDATES))
    found = {one.name: one for one in asked.ledger.queries()}
    assert (found["sums"].sensitivity, found["sums"].steps) == (1.0, 1)
    assert (found["votes"].mechanism, found["votes"].steps, found["votes"].rate) == ("gaussian", 1, 1.0)
    assert found["votes"].noise_multiplier == asked.ledger.noise["votes"].noise


def test_queries_outside_of_the_allocation_are_refused():
    asked = oracle(1.0)
    with pytest.raises(PluginError, match=r"'votes' was not planned; call oracle.allocate first. Planned: none"):
        asked.votes("votes", asked.embed(CANDIDATES))
    asked.allocate(Query("sums"), Query("votes", steps=2))
    with pytest.raises(PluginError, match=r"allocate the budget once"):
        asked.allocate(Query("more"))
    with pytest.raises(PluginError, match=r"'sums' was planned as 'gaussian' and asked as 'laplace'"):
        asked.class_counts("sums")
    asked.class_sums("sums")
    with pytest.raises(PluginError, match=r"planned to be asked 1 times; the budget holds no more"):
        asked.class_sums("sums")
    asked.votes("votes", asked.embed(CANDIDATES))


def test_a_query_cannot_become_more_sensitive():
    asked = oracle(1.0)
    asked.allocate(Query("sums", steps=2))
    asked.class_sums("sums")
    with pytest.raises(PluginError, match="another sensitivity"):
        asked.class_sums("sums", count_weight=1.0)


def test_at_epsilon_zero_nothing_can_be_planned():
    asked = oracle(0.0)
    assert asked.zero_budget
    with pytest.raises(PluginError, match="positive weight"):
        Query("votes", weight=0.0)
    with pytest.raises(PluginError, match="two queries have the same name"):
        oracle(1.0).allocate(Query("votes"), Query("votes"))
    with pytest.raises(UsageError, match="unknown mechanism 'gauss'"):
        oracle(1.0).allocate(Query("votes", kind="gauss"))  # type: ignore[arg-type]
    with pytest.raises(PluginError, match="not with epsilon=0"):
        asked.allocate(Query("votes"))


def test_features_that_depend_on_other_rows_are_refused():
    from tdbench.bench.models.encoder import TfidfEncoder

    asked = PrivateOracle(ROWS, 1.0, 1e-5, group=1, noise_only=False, ctx=context(encoder=TfidfEncoder))
    asked.allocate(Query("votes"))
    with pytest.raises(UsageError, match="one row changes the features of all"):
        asked.class_sums("votes")


def test_handing_over_the_rows_is_written_down():
    asked = oracle(1.0)
    assert asked.records("to look at them").joined() == ROWS.joined()
    assert asked.ledger.raw_reads == ["to look at them"]
    assert ROWS.joined()[0] not in repr(vars(asked))
