"""Audits from the command line: on the stand-in, and on AG News against what must come out."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tdbench.bench.record import Record, parse_record
from tdbench.leaderboard.stats import holm
from tests import commands

SMOKE = ("protocol=smoke", "budget=dpc5", "sets=1", "learners=[bow-logreg]", "runtime.root=runs")


def audits(root: Path) -> dict[tuple[str, int | None], Record]:
    """Method and texts per class -> audit record."""
    records = [parse_record(json.loads(path.read_text()), str(path)) for path in root.glob("runs/audit/*/record.json")]
    return {(record.cell.method, record.cell.per_class): record for record in records}


def headline(record: Record, game: str = "text"):
    assert record.audit is not None
    return next(attack for attack in record.audit.attacks if attack.headline and attack.game == game)


def test_an_audit_on_the_stand_in_is_planned_run_shown_and_resumed(tdbench, tmp_path):
    words = ("-m", "task=agnews", "method=random,trigram", *SMOKE, "audit=model")
    planned = json.loads(tdbench("plan", *words, "--json").stdout)["stages"]
    kinds = [stage["stage"] for stage in planned]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "distil": 2,
        "train": 2,
        "shadow": 18,
        "query": 18,
        "audit": 2,
    }
    done = tdbench("run", *words)
    assert done.returncode == 0, done.stderr
    assert "copied word for word: 20 of 1," in done.stdout
    found = audits(tmp_path)
    record = found["random", 5]
    result = record.audit
    assert result is not None
    assert result.exact_members == (20,) * 8  # every released text is a member's
    assert result.exact_null == 0
    assert {attack.name for attack in result.attacks} >= {
        "bigram-lm",
        "exact",
        "8-gram",
        "4-gram",
        "loss",
        "logit-difference",
        "rmia",
    }
    assert "no attack by nearest neighbours" in result.notes[0]  # bow-logreg is fitted on what it reads
    rows = json.loads((tmp_path / "runs" / "board" / "leaderboard.json").read_text())["rows"]
    (row,) = [
        one
        for one in rows
        if one["method"] == "random" and one["protocol"] == "smoke" and one["learner"] == "bow-logreg"
    ]
    assert row["t1_auc"] == pytest.approx(headline(record).auc, abs=1e-6)
    assert row["t2_auc"] == pytest.approx(headline(record, "model").auc, abs=1e-6)
    assert row["t1_exact_matches"] == 20
    assert row["t1_members"] in result.n_member_rows
    assert row["audit_runs"] == 8
    again = tdbench("run", *words, "--json")
    assert json.loads(again.stdout)["n_run"] == 0
    # A finished audit needs its runs no more, and less of an audit is made from what is there.
    text = tdbench("run", *(word.replace("audit=model", "audit=text") for word in words), "--json")
    assert json.loads(text.stdout)["n_run"] == 2


def test_a_changed_audit_is_custom_and_stays_off_the_board(tdbench, tmp_path):
    words = ("task=agnews", "method=random", *SMOKE, "audit=text", "audit.pool_rows=400", "audit.runs.seconds=2")
    done = tdbench("run", *words)
    assert done.returncode == 0, done.stderr
    record = audits(tmp_path)["random", 5]
    assert record.custom
    assert len(record.audit.n_members) == 2
    rows = json.loads((tmp_path / "runs" / "board" / "leaderboard.json").read_text())["rows"]
    assert {row["t1_auc"] for row in rows if row["protocol"] == "smoke"} == {None}


def test_references_that_keep_nothing_or_everything_are_not_audited(tdbench):
    done = tdbench("plan", "task=agnews", "method=majority", *SMOKE, "audit=text")
    assert "left out: audit of agnews · majority" in done.stderr
    assert "shadow" not in done.stdout


def test_a_pool_whose_classes_are_too_small_for_the_budget_says_so(tdbench):
    done = tdbench(
        "run", "task=agnews", "method=random", *SMOKE, "audit=text", "audit.pool_rows=200", "budget.per_class=60"
    )
    assert done.returncode == 1
    assert "FAILED audit of agnews · random · dpc60: task 'agnews': class" in done.stderr


@pytest.fixture(scope="module")
def on_agnews(tmp_path_factory, clean_environment) -> dict[tuple[str, int | None], Record]:
    """Audits of growing samples of a trigram model, and of random rows, on AG News."""
    folder = os.environ.get("TDBENCH_DATA")
    if not folder or not (Path(folder) / "ag_news").exists():
        pytest.skip("no real data for agnews: set TDBENCH_DATA")
    root = tmp_path_factory.mktemp("agnews")
    for method, sizes in (("trigram", "5,25,125"), ("random", "5,25")):
        words = ["-m", "task=agnews", f"method={method}", "protocol=smoke", "sets=1", "learners=[bow-logreg]"]
        words += [f"budget.per_class={sizes}", "audit=text", "runtime.root=runs", "--no-board"]
        done = commands.call(("run", *words), root, {**clean_environment, "TDBENCH_DATA": folder})
        assert done.returncode == 0, done.stderr
    return audits(root)


def test_what_trigram_sets_leak_rises_with_their_size(on_agnews):
    found = [headline(on_agnews["trigram", size]) for size in (5, 25, 125)]
    assert found[0].auc < found[1].auc < found[2].auc
    # Intervals of 20, 100 and 500 texts do not even touch, and the largest leak is plain.
    assert found[0].auc_high < found[1].auc_low
    assert found[1].auc_high < found[2].auc_low
    assert found[2].auc_low > 0.7
    bounds = [on_agnews["trigram", size].audit.epsilon_lower for size in (5, 25, 125)]
    assert bounds[0] < bounds[1] < bounds[2]


def test_null_runs_are_chance(on_agnews):
    nulls = [attack for record in on_agnews.values() for attack in record.audit.attacks]
    assert min(holm([attack.null_p for attack in nulls])) > 0.05
    assert all(record.audit.exact_null == 0 for record in on_agnews.values())
    covered = [attack.null_low <= 0.5 <= attack.null_high for attack in nulls if attack.headline]
    assert sum(covered) >= len(covered) - 1  # 95 % intervals: of five, one may miss


@pytest.mark.parametrize("size", [5, 25])
def test_copies_give_the_auc_that_arithmetic_says(on_agnews, size):
    record = on_agnews["random", size]
    copied = 4 * size
    assert record.audit.exact_members == (copied,) * 8
    expected = 0.5 + copied / (2 * sum(record.audit.n_members) / 8)
    for attack in record.audit.attacks:
        if attack.name in ("bigram-lm", "exact"):
            assert attack.auc_low <= expected <= attack.auc_high, attack.name


def test_the_bound_of_copies_is_large_and_their_auc_is_not(on_agnews):
    record = on_agnews["random", 25]
    assert headline(record).auc < 0.6
    assert record.audit.epsilon_lower > 2


STANDIN = ("--task", "agnews", "protocol=smoke", "data.kind=standin")


def rows_of_train(ids: Path) -> list[dict[str, object]]:
    """Texts of the stand-in's train rows by the ids that a draw has written."""
    from tdbench.bench.data.loading import load_task
    from tdbench.bench.registry import TASKS

    train = load_task(TASKS.get("agnews")(), "standin", None).train
    chosen = [int(line) for line in ids.read_text().splitlines() if not line.startswith("#")]
    rows = train.take(train.positions_of_rows(chosen))
    return [{"text": text, "label": int(label)} for text, label in zip(rows.joined(), rows.labels_N, strict=True)]


def test_a_set_made_elsewhere_is_audited_against_the_rows_it_was_drawn_from(tdbench, tmp_path):
    drawn = tdbench("audit", "--draw", "ids.txt", "--run", "3", *STANDIN)
    assert drawn.returncode == 0, drawn.stderr
    rows = rows_of_train(tmp_path / "ids.txt")
    by_class = [[row for row in rows if row["label"] == label][:10] for label in range(4)]
    (tmp_path / "mine.jsonl").write_text("\n".join(json.dumps(row) for part in by_class for row in part))
    done = tdbench("audit", "mine.jsonl", "--members", "ids.txt", *STANDIN, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["settings"]["draw"] == 3
    assert found["exact_members"] == [40]
    assert found["coin_tests"][0]["right"] >= 36  # nearly all that the set repeats are members
    assert found["epsilon_lower"] > 0.5
    # The complement's rows were not used.
    other = tdbench("audit", "--draw", "others.txt", "--run", "2", *STANDIN)
    assert other.returncode == 0
    swapped = json.loads(tdbench("audit", "mine.jsonl", "--members", "others.txt", *STANDIN, "--json").stdout)
    assert swapped["exact_members"] == [0]
    assert swapped["exact_non_members"] == [40]
    assert swapped["epsilon_lower"] == 0


def test_members_of_ones_own_choice_get_no_test_by_coins(tdbench, tmp_path):
    from tdbench.bench.data.loading import load_task
    from tdbench.bench.registry import TASKS

    train = load_task(TASKS.get("agnews")(), "standin", None).train
    ids = [int(row) for row in train.row_ids_N if row < 3000 and row % 2 == 0]
    (tmp_path / "ids.txt").write_text("\n".join(["# mine", *map(str, ids)]))
    rows = rows_of_train(tmp_path / "ids.txt")[:200]
    (tmp_path / "mine.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    done = tdbench("audit", "mine.jsonl", "--members", "ids.txt", *STANDIN)
    assert done.returncode == 0, done.stderr
    assert "no test by random membership" in done.stdout
    assert "guesses" not in done.stdout
    assert "copied word for word: 200 of 1,3" in done.stdout  # of all members, not of the sample that is compared


def test_mistakes_of_an_audit_name_the_place(tdbench, tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"text": "a", "label": 0}\n' * 4)
    (tmp_path / "ids.txt").write_text("1\ntwo\n")
    cases = {
        ("mine.jsonl", *STANDIN): (2, "needs a set and who is in it"),
        ("--members", "ids.txt", *STANDIN): (2, "needs a set and who is in it"),
        ("mine.jsonl", "--members", "ids.txt"): (2, "no task given"),
        ("--draw", "x.txt", "--run", "64", *STANDIN): (2, "expected 0 to 63"),
    }
    for words, (code, text) in cases.items():
        done = tdbench("audit", *words)
        assert (done.returncode, text in done.stderr) == (code, True), (words, done.stderr)
    labels = "\n".join(json.dumps({"text": f"text {i}", "label": i}) for i in range(4))
    (tmp_path / "mine.jsonl").write_text(labels)
    for text, message in (
        ("1\ntwo\n", "line 2: got 'two'"),
        ("1\n1\n", "more than once"),
        ("#\n", "names no row"),
        ("99999999\n", "row 99999999 is not in the train split"),
    ):
        (tmp_path / "ids.txt").write_text(text)
        done = tdbench("audit", "mine.jsonl", "--members", "ids.txt", *STANDIN)
        assert done.returncode == 1
        assert message in done.stderr
