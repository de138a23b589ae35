"""`tdbench submit` and `tdbench validate` on results of this machine, with the data at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdbench.bench.data.loading import load_task
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.experiment.archive import Archive, accept_packs
from tdbench.bench.metrics import score
from tdbench.bench.record import pack_ints, set_sha256, unpack_ints
from tdbench.bench.registry import TASKS
from tdbench.bench.submission.collect import write_manifest
from tests import commands
from tests.unit.submissions import first, report_of, tampered, write_form

PACK = "records/smoke/agnews-standin/trigram.json"
SMOKE = ("-m", "task=agnews", "suite=smoke", "method=trigram,random", "budget=dpc1", "data.kind=standin")


@pytest.fixture(scope="module")
def submitted(tmp_path_factory, clean_environment, few_records):
    """A submission of a small run, and the folder it was made in."""
    folder = tmp_path_factory.mktemp("submitted")

    def call(*words: str):
        done = commands.call(words, folder, clean_environment, few_records)
        assert done.returncode == 0, done.stderr
        return done.stdout

    call("run", *SMOKE)
    said = json.loads(call("submit", "trigram", "--json"))
    assert said == {"folder": "submission-trigram", "sets": 1, "trainings": 1, "audits": 0, "controls": 1}
    write_form(folder / "submission-trigram", method="trigram", tags=[])
    return folder / "submission-trigram"


@pytest.fixture
def submission(submitted, tmp_path) -> Path:
    import shutil

    return Path(shutil.copytree(submitted, tmp_path / "mine"))


def test_what_the_suite_made_is_refused_for_being_a_first_look_alone(submission):
    report = report_of(submission)
    assert report.codes() == {"incomplete"}, report.sorted()
    assert report.codes("unchecked") == set(), report.sorted()
    assert "no-control" in report.codes("warning")
    assert any("would not be ranked" in finding.message for finding in report.findings)
    assert "no-audit" in report.codes("note")


def test_a_blank_form_is_refused_and_says_what_to_write(tdbench, submitted):
    run = submitted.parent
    done = tdbench("submit", "trigram", "--root", str(run / "runs"), "--out", "again")
    assert done.returncode == 0, done.stderr
    assert "Fill in again/submission.yaml" in done.stdout
    checked = tdbench("validate", "again")
    assert checked.returncode == 1
    assert "still says TODO" in checked.stdout
    assert "REFUSED" in checked.stdout
    other = tdbench("submit", "kmeans", "--root", str(run / "runs"))
    assert other.returncode == 2
    assert "it has runs of random, trigram" in other.stderr
    taken = tdbench("submit", "trigram", "--root", str(run / "runs"), "--out", "again")
    assert taken.returncode == 2
    assert "not an empty folder" in taken.stderr


def test_a_score_that_the_predictions_do_not_give_is_refused(submission):
    def better(raw: dict[str, Any]) -> None:
        first(raw, "train")["train"].update(accuracy_frac=0.999)

    assert "metric-differs" in report_of(tampered(submission, better, PACK)).codes()


@pytest.mark.parametrize("name", ["macro_f1_frac", "majority_frac"])
def test_other_numbers_are_computed_again(submission, name):
    def change(raw: dict[str, Any]) -> None:
        first(raw, "train")["train"][name] *= 0.9

    assert "metric-differs" in report_of(tampered(submission, change, PACK)).codes()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda values: values[:-1], "predictions"),
        (lambda values: (*values, 0), "predictions"),
        (lambda values: (9, *values[1:]), "predictions"),
    ],
)
def test_predictions_must_fit_the_test_rows(submission, change, code):
    def act(raw: dict[str, Any]) -> None:
        train = first(raw, "train")["train"]
        train["predictions"] = pack_ints(tuple(change(unpack_ints(train["predictions"]))))

    assert code in report_of(tampered(submission, act, PACK)).codes()


def with_texts(texts: list[str]):
    """Replaces the first texts of the set and writes every hash anew, as a careful cheat would."""

    def act(raw: dict[str, Any]) -> None:
        distil = first(raw, "distil")
        packed = raw["sets"][distil["id"]]
        (field,) = packed["fields"]
        packed["fields"][field][: len(texts)] = texts
        made = DistilledSet.from_texts(packed["fields"], unpack_ints(packed["labels"]))
        import tempfile

        with tempfile.TemporaryDirectory() as name:
            distil["artefacts"] = made.save(Path(name), {})
        parts = {key: value for key, value in distil["artefacts"].items() if not key.endswith(".yaml")}
        from tdbench.bench.canonical import sha256_text

        whole = sha256_text(";".join(f"{key}:{value}" for key, value in sorted(parts.items())))
        for record in raw["records"]:
            if record["stage"] == "train":
                record["set_sha256"] = whole

    return act


def test_copied_test_and_train_texts_are_counted_again(submission):
    data = load_task(TASKS.get("agnews")(), "standin", None)
    test, train = data.test.joined()[0], data.train.joined()[0]
    report = report_of(tampered(submission, with_texts([test]), PACK))
    assert "set-hash" not in report.codes(), report.sorted()
    assert any(f.code == "leak" and "equal a test text" in f.message for f in report.findings)
    report = report_of(tampered(submission, with_texts([train]), PACK))
    assert any(f.code == "leak" and "equal a train text" in f.message for f in report.findings)


def test_tokens_are_counted_again(submission):
    report = report_of(tampered(submission, with_texts(["a " * 500]), PACK))
    assert "count" in report.codes()


def forge_predictions(share: float):
    """Replaces wrong predictions by right ones, and writes the scores that follow, as a careful cheat would."""

    def act(raw: dict[str, Any]) -> None:
        data = load_task(TASKS.get("agnews")(), "standin", None)
        for record in raw["records"]:
            if record["stage"] == "train":
                test = data.test_draw(200)
                predictions = np.array(unpack_ints(record["train"]["predictions"]))
                wrong = np.flatnonzero(predictions != test.labels_N)
                mended = wrong[: int(share * len(wrong))]
                predictions[mended] = test.labels_N[mended]
                record["train"]["predictions"] = pack_ints(tuple(predictions.tolist()))
                record["train"].update(score(predictions, test.labels_N, test.n_classes))

    return act


def test_predictions_that_no_model_made_are_found_by_training_on_the_set_again(submission):
    report = report_of(submission)
    assert any(f.code == "reproduction" and "2 of 2 trainings" in f.message for f in report.findings), report.sorted()
    report = report_of(tampered(submission, forge_predictions(0.1), PACK))
    assert "metric-differs" not in report.codes()
    assert "reproduction" in report.codes(), report.sorted()


def test_copies_of_test_texts_are_found_behind_punctuation(submission):
    data = load_task(TASKS.get("agnews")(), "standin", None)
    copies = [f"{text} ." for text in data.test.joined()[:2]]
    report = report_of(tampered(submission, with_texts(copies), PACK))
    assert any(f.code == "leak" and "but for punctuation" in f.message for f in report.findings), report.sorted()


def test_what_could_not_be_checked_is_not_accepted_unasked(tdbench, submission):
    elsewhere = {"TDBENCH_DATA": "/nowhere", "HF_HUB_OFFLINE": "1"}

    def real(raw: dict[str, Any]) -> None:
        for cell in raw["shared"]:
            if isinstance(cell, dict) and "data_kind" in cell:
                cell["data_kind"] = "real"

    path = submission / PACK
    (submission / "records" / "smoke" / "agnews").mkdir()
    tampered(submission, real, PACK)
    path.rename(submission / "records" / "smoke" / "agnews" / path.name)
    write_manifest(submission)
    done = tdbench("validate", str(submission), "--strict", "--json", **elsewhere)
    findings = json.loads(done.stdout)["findings"]
    assert {"data", "unchecked"} <= {finding["code"] for finding in findings}
    assert any("could not be checked here" in finding["message"] for finding in findings)


def test_a_submission_is_accepted_without_its_controls(submission, tmp_path):
    written = accept_packs(submission / "records", tmp_path / "accepted", "trigram")
    assert [path.relative_to(tmp_path / "accepted").as_posix() for path in written] == [PACK.removeprefix("records/")]
    accepted = Archive(tmp_path / "accepted")
    assert {record.cell.method for record in accepted.records()} == {"trigram"}
    again = accept_packs(submission / "records", tmp_path / "accepted", "trigram")
    assert Archive(tmp_path / "accepted").records() == accepted.records()
    assert again == written


def test_a_refused_submission_is_not_accepted(tdbench, submission):
    done = tdbench("validate", str(submission), "--accept", "--json")
    assert done.returncode == 1
    assert "accepted" not in {finding["code"] for finding in json.loads(done.stdout)["findings"]}


def test_other_data_leave_scores_unchecked_and_say_so(submission):
    def other(raw: dict[str, Any]) -> None:
        for cell in raw["shared"]:
            if isinstance(cell, dict) and "data_fingerprint" in cell:
                cell["data_fingerprint"] = "0" * 16

    report = report_of(tampered(submission, other, PACK))
    assert "data" in report.codes("unchecked")
    assert "id" in report.codes()  # the fingerprint is part of every id


@pytest.mark.parametrize("task", ["spam", pytest.param("sst2", marks=pytest.mark.slow)])
def test_accepted_records_pass_the_checks_that_submissions_must_pass(task):
    """Every pack of a task, rebuilt as a submission: nothing of its records or sets is refused."""
    from tdbench.bench._paths import RECORDS
    from tdbench.bench.submission.intake import Contents, Report
    from tdbench.bench.submission.privacy_checks import check_promises
    from tdbench.bench.submission.record_checks import check_records
    from tdbench.bench.submission.set_checks import check_sets

    accepted = Archive(RECORDS)
    contents, report = Contents(), Report()
    for record in accepted.records():
        if record.cell.task == task:
            contents.records[record.id] = record
            if record.stage == "distil":
                contents.sets[record.id] = accepted.packed_set(record.id)
    for check in (check_records, check_sets, check_promises):
        check(contents, accepted, report)
    assert len(contents.distilled) > 30
    assert report.codes() == set(), report.sorted()[:5]
    assert set_sha256(next(r for r in contents.records.values() if r.stage == "distil"))
    assert np.isfinite(len(contents.records))
