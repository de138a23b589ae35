"""Careful cheats: every id, hash and score fits, and the submission is refused all the same."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest

from tdbench.bench.commands import submit
from tdbench.bench.experiment.archive import parse_pack
from tdbench.bench.submission.collect import write_manifest
from tdbench.bench.submission.data_checks import _holds, bare
from tests.unit.submissions import PACK, forged, from_accepted, own_copy, report_of, tampered, write_form


def nothing(raws, sets):
    pass


def every(stage: str | None, part: str | None, **changes: Any):
    def change(raws, sets):
        for raw in raws:
            if stage in (None, raw["stage"]):
                (raw if part is None else raw[part]).update(changes)

    return change


def seeds(*numbers: int):
    def change(raws, sets):
        for raw in raws:
            if raw["stage"] == "train":
                raw["train"]["seed_index"] = raw["seed_index"] = numbers[0]

    return change


def schedule(raws, sets):
    every("train", "train", mode="learned-schedule", steps=100_000, lr=0.5)(raws, sets)


def all_named(text: Any):
    def change(raws, sets):
        for key in sets:
            sets[key] = dict(text)

    return change


def no_training(raws, sets):
    raws[:] = [raw for raw in raws if raw["stage"] != "train"]


def fewer_sets(raws, sets):
    dropped = sorted(sets)[0]
    raws[:] = [raw for raw in raws if raw["distil_id"] != dropped]
    del sets[dropped]


def without_rate(raws, sets):
    for raw in raws:
        if raw["learner"] == "minilm":
            raw["train"].update(lr=None, steps=100_000)


CHEATS = {
    "a budget of another size under a known name": (every(None, "cell", budget="dpc1"), "budget"),
    "a budget without limits": (every(None, "cell", per_class=None), "budget"),
    "a budget of its own": (every(None, "cell", budget="dpc10 (official)"), "budget"),
    "the budget of references": (every(None, "cell", budget="all", per_class=None), "budget"),
    "a cost class that asks for fewer sets": (every(None, "method_facts", cost_class="hours"), "cost-class"),
    "the name of a reference": (every(None, "method_facts", label="random"), "method"),
    "the label of another method": (every(None, "method_facts", label="align-kmeans"), "method"),
    "the name of a reference in other letters": (every(None, "method_facts", label="K-means"), "method"),
    "a reference that nobody made one": (every(None, "method_facts", reference=True), "method"),
    "a seed chosen afterwards": (seeds(7), "seed"),
    "steps that a text does not bring": (schedule, "recipe"),
    "no learning rate, many steps": (without_rate, "recipe"),
    "sets of all rows": (all_named({"all_rows": True}), "set"),
    "texts beside a set that is only named": (all_named({"not_kept": "x", "fields": {"sentence": ["a"]}}), "set"),
    "an essay in the place of a set": (all_named({"not_kept": "x" * 1_000}), "set"),
    "no training": (no_training, "incomplete"),
    "too few sets": (fewer_sets, "incomplete"),
    "a task that nobody has": (every(None, "cell", task="sst3"), "data"),
    "a date before the suite": (every(None, None, created="0001-01-01T00:00:00+00:00"), "created"),
    "trainings that took no time": (
        every("train", None, cost=[{"phase": "train", "wall_s": 1e-9}]),
        "cost",
    ),
    "sets that took an unknown time": (every("distil", None, cost=[{"phase": "distil"}]), "cost"),
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_careful_cheat_is_refused(submission, accepted_results, name):
    change, code = CHEATS[name]
    report = report_of(forged(submission, change), accepted_results)
    assert code in report.codes(), report.sorted()


def test_nothing_but_a_new_name_is_not_refused(submission, accepted_results):
    report = report_of(forged(submission, nothing), accepted_results)
    assert report.codes() == set(), report.sorted()


def test_seeds_of_all_sets_count_from_nought(submission, accepted_results):
    """A deterministic method with one set and chosen seeds looks whole to the protocol."""

    def one_set(raws, sets):
        first = next(raw for raw in raws if raw["stage"] == "distil" and raw["cell"]["set_index"] == 0)
        trains = [raw for raw in raws if raw["stage"] == "train" and raw["distil_id"] == first["id"]]
        for key in [key for key in sets if key != first["id"]]:
            del sets[key]
        raws[:] = [first]
        for seed in (0, 1000, 2000, 3000, 4000):
            for raw in json.loads(json.dumps(trains)):
                raw["seed_index"] = raw["train"]["seed_index"] = seed
                raws.append(raw)
        every(None, "method_facts", deterministic=True)(raws, sets)

    report = report_of(forged(submission, one_set), accepted_results)
    assert any("they count from 0" in finding.message for finding in report.findings)


def test_data_that_accepted_results_do_not_know_are_refused(submission, accepted_results):
    report = report_of(forged(submission, every(None, "cell", data_fingerprint="0" * 16)), accepted_results)
    assert "data" in report.codes()


@pytest.mark.parametrize("method", ["kmeans", "random"])
def test_results_of_references_are_not_submitted(tmp_path, accepted_results, method):
    folder = from_accepted(tmp_path / "mine", (method,))
    write_form(folder, method=method)
    assert "method" in report_of(folder, accepted_results).codes()


def test_a_known_method_has_its_version_options_and_facts(submission, accepted_results):
    for change, code in (
        (lambda c: c.update(method_version=99), "method"),
        (lambda c: c["config"].update(no_such_option=1), "options"),
    ):

        def act(raw, change=change):
            for part in raw["shared"]:
                if isinstance(part, dict) and part.get("method") == "synalign":
                    change(part)

        assert code in report_of(tampered(submission, act), accepted_results).codes()


def test_the_open_division_says_what_it_used_and_a_test_split_is_asked_about(submission, accepted_results):
    write_form(submission, division="open", notes="")
    assert "form" in report_of(submission, accepted_results).codes()
    write_form(submission, tuning={"configurations": 9, "chosen_on": "sst2 test split"})
    assert "tuning" in report_of(submission, accepted_results).codes("warning")


def test_learners_that_were_left_out_are_named(submission, accepted_results):
    def one(raws, sets):
        raws[:] = [raw for raw in raws if raw["learner"] in (None, "minilm")]

    report = report_of(forged(submission, one), accepted_results)
    assert any(f.code == "learner" and "bilstm, bow-logreg, textcnn" in f.message for f in report.findings)


def test_a_set_in_a_pack_and_in_files_is_refused(submission, accepted_results):
    def beside(raws, sets):
        every("distil", None)(raws, sets)

    folder = forged(submission, beside)
    (pack,) = (folder / "records" / "lite-v1" / "sst2").glob("mymethod.json")
    _, sets = parse_pack(json.loads(pack.read_text()), "pack")
    key = next(key for key, made in sets.items() if "fields" in made)
    (folder / "sets" / key).mkdir(parents=True)
    (folder / "sets" / key / "card.yaml").write_text("x: 1")
    write_manifest(folder)
    assert "duplicate" in report_of(folder, accepted_results).codes()


def test_one_id_twice_in_a_pack_is_refused(submission, accepted_results):
    report = report_of(tampered(submission, lambda raw: raw["records"].append(raw["records"][0])), accepted_results)
    assert any(f.code == "pack" and "stands there twice" in f.message for f in report.findings)


def test_predictions_do_not_unpack_to_more_than_a_pack_may_hold(submission, accepted_results):
    bomb = base64.b64encode(zlib.compress(bytes(10_000_000), 9)).decode()

    def fill(raw):
        for record in raw["records"]:
            if record["stage"] == "train":
                record["train"]["predictions"] = bomb

    report = report_of(tampered(submission, fill), accepted_results)
    assert any(f.code == "pack" and "packed predictions" in f.message for f in report.findings)


@pytest.mark.parametrize("text", ['{"a": "' + '\\"' * 2_000_000 + '"}', "[" + "9" * 6_000 + "]"])
def test_long_strings_and_numbers_take_no_time(submission, accepted_results, text):
    (submission / PACK).write_text(text)
    write_manifest(submission)
    assert "pack" in report_of(submission, accepted_results).codes()


def test_a_check_that_fails_refuses_and_does_not_end_the_others(submission, accepted_results, monkeypatch):
    def check_sets(contents, accepted, report):
        raise RuntimeError("unforeseen")

    checks = [check_sets if check.__name__ == "check_sets" else check for check in submit.CHECKS]
    monkeypatch.setattr(submit, "CHECKS", checks)
    report = report_of(submission, accepted_results)
    assert any(f.code == "internal" and "unforeseen" in f.message for f in report.findings)
    assert "no-control" in report.codes("warning")


def test_a_form_that_is_not_filled_in_leaves_no_check_out(submission, accepted_results):
    (submission / "submission.yaml").write_text("method: [")
    report = report_of(submission, accepted_results)
    assert "form" in report.codes()
    assert "no-control" in report.codes("warning")


def test_another_version_in_one_record_is_found(submission, accepted_results):
    def newer(raw):
        own_copy(raw, next(r for r in raw["records"] if r["stage"] == "distil"), "cell")["method_version"] = 99

    assert any(
        "made by version 99" in f.message for f in report_of(tampered(submission, newer), accepted_results).findings
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The film is a long and winding tale of love, loss and rain!!", True),
        ("Indeed: the film is a long and winding tale of love, loss and rain. So it is", True),
        ("the film is \u0430 l\u043eng and winding tale of love loss and rain", True),
        ("the film is a long tale of love and loss", False),
        ("no good", True),
        ("no good at all", False),
    ],
)
def test_test_texts_are_found_inside_others_and_behind_look_alike_letters(text, found):
    known = frozenset(map(bare, ["the film is a long and winding tale of love , loss and rain .", "no good ."]))
    assert _holds(bare(text), known) is found
