"""Tampered submissions: each is refused for the right reason."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tdbench.bench.record import pack_ints, unpack_ints
from tdbench.bench.submission.collect import write_manifest
from tests.unit.submissions import first, from_accepted, own_copy, report_of, tampered


def test_an_honest_submission_is_not_refused(submission, accepted_results):
    report = report_of(submission, accepted_results)
    assert report.codes() == set(), report.sorted()
    assert report.codes("warning") <= {"dirty", "source", "control", "no-control"}  # its controls are the accepted ones
    assert "data" in report.codes("unchecked")


def edit(stage: str, **changes: Any) -> Callable[[dict[str, Any]], None]:
    def change(raw):
        first(raw, stage).update(changes)

    return change


def inside(stage: str, part: str, **changes: Any) -> Callable[[dict[str, Any]], None]:
    def change(raw):
        first(raw, stage)[part].update(changes)

    return change


def shared(stage: str, part: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], None]:
    def act(raw):
        change(own_copy(raw, first(raw, stage), part))

    return act


def swap_predictions(raw):
    """Gives a training the predictions of another one."""
    one, two = [r for r in raw["records"] if r["stage"] == "train"][:2]
    one["train"]["predictions"] = two["train"]["predictions"]


def drop_set_record(raw):
    raw["records"].remove(first(raw, "distil"))


def drop_set(raw):
    del raw["sets"][first(raw, "distil")["id"]]


def change_set(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], None]:
    def act(raw):
        change(raw["sets"][first(raw, "distil")["id"]])

    return act


def longer(made):
    """Adds a text of the first class."""
    labels = unpack_ints(made["labels"])
    made["labels"] = pack_ints((*labels, labels[0]))
    for column in made["fields"].values():
        column.append("one more text")


def all_sets_one(raw):
    """Says that every set had the content of the first."""
    sets = [r for r in raw["records"] if r["stage"] == "distil"]
    for record in sets[1:]:
        record["artefacts"] = sets[0]["artefacts"]


def repeated(raw):
    other = copy.deepcopy(first(raw, "train"))
    other["id"] = other["id"][:-1] + ("0" if other["id"][-1] != "0" else "1")
    raw["records"].append(other)


TAMPERED: tuple[tuple[str, Callable[[dict[str, Any]], Any], str], ...] = (
    ("another set index", shared("distil", "cell", lambda c: c.update(set_index=77)), "id"),
    ("other data", shared("distil", "cell", lambda c: c.update(data_fingerprint="0" * 16)), "id"),
    ("another budget", shared("distil", "cell", lambda c: c.update(per_class=50)), "id"),
    ("other configuration", shared("distil", "cell", lambda c: c["config"].update(over=11)), "id"),
    (
        "options that are not the configuration",
        shared("distil", "cell", lambda c: c.update(options={"over": 11})),
        "options",
    ),
    ("a made-up id", edit("distil", id="f" * 16), "id"),
    ("another seed", inside("train", "train", seed=1), "seed"),
    ("another seed index", inside("train", "train", seed_index=9), "id"),
    ("seed indices that differ", edit("train", seed_index=3), "seed"),
    ("another learner", inside("train", "train", learner="textcnn-large"), "learner"),
    ("other weights", inside("train", "train", learner_spec={"learner": "minilm"}), "id"),
    (
        "an unseen learner as source",
        lambda raw: [r["train"].update(is_source=True) for r in raw["records"] if r["stage"] == "train"],
        "learner",
    ),
    ("an older engine", inside("train", "train", engine_numerics=1), "engine"),
    ("more steps", inside("train", "train", steps=1_000), "recipe"),
    ("another learning rate", inside("train", "train", lr=0.01), "recipe"),
    ("a changed protocol", shared("train", "protocol", lambda p: p.update(steps=1_000)), "pack"),
    ("a protocol of another name", shared("train", "protocol", lambda p: p.update(name="lite-v9")), "pack"),
    ("a custom run", edit("train", custom=True), "pack"),
    ("a set of another content", edit("train", set_sha256="0" * 64), "set-hash"),
    ("a changed text", change_set(lambda s: s["fields"]["sentence"].__setitem__(0, "a better text")), "set-hash"),
    ("a changed label", change_set(lambda s: s.update(labels=pack_ints((1,) * 20))), "count"),
    ("a set over budget", change_set(longer), "budget"),
    ("a set without its record", drop_set_record, "missing-set"),
    ("a record without its set", drop_set, "missing-set"),
    ("an unknown part of a set", change_set(lambda s: s.update(extra=[1])), "set"),
    ("texts that are numbers", change_set(lambda s: s["fields"].update(sentence=list(range(20)))), "set"),
    ("row ids beside texts", change_set(lambda s: s.update(row_ids=list(range(20)))), "set"),
    ("negative row ids", change_set(lambda s: (s.pop("fields"), s.update(row_ids=[-1] * 20))), "set"),
    ("weights that are none", change_set(lambda s: s.update(weights=["many"] * 20)), "set"),
    ("labels that unpack for ever", change_set(lambda s: s.update(labels=pack_ints((0,) * 10_000_000))), "set"),
    ("one set's hash for all", all_sets_one, "set-hash"),
    ("a training under two ids", repeated, "id"),
    ("a failure", edit("train", status="failed"), "failed-record"),
    ("a made-up accuracy", inside("train", "train", accuracy_frac=1.5), "pack"),
    ("no accuracy", inside("train", "train", accuracy_frac=None), "pack"),
    ("an accuracy in words", inside("train", "train", accuracy_frac="high"), "pack"),
    ("an unknown field", edit("train", more="x"), "pack"),
    ("a newer schema", edit("train", schema_version=99), "pack"),
    ("a negative cost", edit("train", cost=[{"phase": "train", "wall_s": -1.0}]), "cost"),
    ("no cost", edit("train", cost=[]), "cost"),
    ("a free training", edit("train", cost=[{"phase": "train", "wall_s": 0.0}]), "cost"),
    ("a date to come", edit("train", created="2999-01-01T00:00:00+00:00"), "created"),
    ("no date", edit("train", created="yesterday"), "created"),
    ("a set from elsewhere", shared("distil", "method_facts", lambda f: f.update(external=True)), "external"),
    (
        "a script as label",
        shared("distil", "method_facts", lambda f: f.update(label="<script>alert(1)</script>")),
        "name",
    ),
    ("a formula as label", shared("distil", "method_facts", lambda f: f.update(label="=1+1")), "name"),
    ("a turned label", shared("distil", "method_facts", lambda f: f.update(label="synalign\u202e")), "name"),
    ("a look-alike label", shared("distil", "method_facts", lambda f: f.update(label="r\u0430ndom")), "name"),
    ("markup in a remark", inside("train", "train", notes=["<img src=x onerror=alert(1)>"]), "text"),
    ("a zero-width remark", inside("train", "train", notes=["best\u200bmethod"]), "text"),
    ("a privacy promise of a plain method", inside("distil", "distil", epsilon=1.0, delta=1e-5), "privacy"),
    (
        "a private method without a promise",
        shared("distil", "method_facts", lambda f: f.update(private=True)),
        "privacy",
    ),
    ("a text as track", inside("distil", "distil", track="text+soft"), "track"),
    ("rows for texts", inside("distil", "distil", output="rows"), "track"),
    ("other counts", inside("distil", "distil", n_rows=19), "count"),
    ("a record of another task", shared("distil", "cell", lambda c: c.update(task="agnews")), "pack"),
    ("packs of no version", lambda raw: raw.pop("pack_version"), "pack"),
    ("records that are none", lambda raw: raw.update(records=[1, 2]), "pack"),
    ("sets that are none", lambda raw: raw.update(sets=[1]), "pack"),
    ("a set that is a text", lambda raw: raw["sets"].update(x="text"), "pack"),
    ("a reference beyond what is shared", edit("train", cell=10_000), "pack"),
)


@pytest.mark.parametrize(("change", "code"), [pytest.param(c, code, id=name) for name, c, code in TAMPERED])
def test_a_tampered_pack_is_refused_for_its_reason(submission, accepted_results, change, code):
    report = report_of(tampered(submission, change), accepted_results)
    assert code in report.codes(), report.sorted()


DP_PACK = "records/lite-v1/spam/dp_mean_match.json"


def promise(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], None]:
    """Changes the statement of every set that promises something."""

    def act(raw):
        for record in raw["records"]:
            said = (record.get("distil") or {}).get("privacy")
            if said and said["epsilon"] != "inf" and said.get("oracle", "data") == "data" and said.get("queries"):
                change(said)
                record["distil"]["epsilon"], record["distil"]["delta"] = said["epsilon"], said["delta"]

    return act


DP_TAMPERED: tuple[tuple[str, Callable[[dict[str, Any]], Any]], ...] = (
    ("a smaller epsilon", lambda s: s.update(epsilon=s["epsilon"] / 4, epsilon_spent=s["epsilon_spent"] / 4)),
    ("less noise", lambda s: [q.update(noise_multiplier=q["noise_multiplier"] / 2) for q in s["queries"]]),
    ("more answers", lambda s: [q.update(steps=q["steps"] * 4) for q in s["queries"]]),
    ("answers without end", lambda s: [q.update(steps=10**15) for q in s["queries"]]),
    ("no noise", lambda s: [q.update(noise_multiplier=0.0) for q in s["queries"]]),
    ("a smaller delta", lambda s: s.update(delta=s["delta"] / 1e6)),
    ("no queries", lambda s: s.update(queries=[])),
    ("sets together for less", lambda s: s.update(epsilon_of_sets={"20": 0.1})),
    ("many queries", lambda s: s.update(queries=s["queries"] * 200)),
)


@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in DP_TAMPERED])
def test_a_promise_that_its_queries_do_not_keep_is_refused(tmp_path, change):
    folder = from_accepted(tmp_path / "mine", ("dp_mean_match",), "spam")
    assert "privacy" not in report_of(folder).codes()
    assert "privacy" in report_of(tampered(folder, promise(change), DP_PACK)).codes()


def test_a_raw_read_leaves_no_promise(tmp_path):
    folder = from_accepted(tmp_path / "mine", ("dp_mean_match",), "spam")
    reports = report_of(tampered(folder, promise(lambda s: s.update(raw_reads=["debugging"])), DP_PACK))
    assert "pack" in reports.codes()


def test_there_are_many_ways_to_tamper():
    assert len(TAMPERED) >= 40


def test_controls_must_agree_with_accepted_ones(submission, accepted_results):
    def worse(raw):
        record = first(raw, "train")
        predictions = unpack_ints(record["train"]["predictions"])
        record["train"].update(
            accuracy_frac=record["train"]["accuracy_frac"] - 0.1, predictions=pack_ints(predictions[::-1])
        )

    report = report_of(tampered(submission, worse, "records/lite-v1/sst2/random.json"), accepted_results)
    assert "control" in report.codes()

    def later(raw):
        for record in raw["records"]:
            record["created"] = "2026-11-29T00:00:00+00:00"

    report = report_of(tampered(submission, later, "records/lite-v1/sst2/random.json"), accepted_results)
    assert not report.codes("warning") & {"control", "no-control"}
    (submission / "records" / "lite-v1" / "sst2" / "random.json").unlink()
    write_manifest(submission)
    assert "no-control" in report_of(submission, accepted_results).codes("warning")


def test_findings_are_one_plain_line_each(submission, accepted_results):
    hostile = "x\x1b[31m\n\u202e<script>" + "y" * 5_000
    report = report_of(
        tampered(submission, shared("distil", "method_facts", lambda f: f.update(label=hostile))), accepted_results
    )
    assert report.refused
    for finding in report.findings:
        assert finding.message.isprintable()
        assert finding.where.isprintable()
        assert len(finding.message) <= 400
