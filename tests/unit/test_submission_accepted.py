"""Submissions beside what is accepted: holes are filled, results are borne out, nothing is replaced."""

from __future__ import annotations

import json

from tdbench.bench.commands.submit import _place_of_form, validate_command
from tdbench.bench.experiment.archive import Archive, _dump, accept_packs, parse_pack
from tdbench.bench.experiment.method_info import about_methods
from tdbench.bench.submission.collect import write_manifest
from tests.unit.submissions import forged, from_accepted, report_of, tampered, write_form


def nothing(raws, sets):
    pass


def test_an_accepted_record_is_never_replaced(submission, accepted_results, tmp_path):
    def worse(raw):
        for record in raw["records"]:
            if record["stage"] == "train":
                record["train"]["accuracy_frac"] *= 0.9

    report = report_of(tampered(submission, worse), accepted_results)
    assert "known" in report.codes()
    accept_packs(from_accepted(tmp_path / "first") / "records", tmp_path / "kept", "synalign")
    before = {r.id: r for r in Archive(tmp_path / "kept").records()}
    accept_packs(submission / "records", tmp_path / "kept", "synalign")
    assert {r.id: r for r in Archive(tmp_path / "kept").records()} == before


def test_an_audit_is_neither_believed_nor_replaces_an_accepted_one(tmp_path, accepted_results):
    folder = from_accepted(tmp_path / "mine", audits=True)
    report = report_of(folder, accepted_results)
    assert "audit" in report.codes("unchecked")
    assert "known" not in report.codes()

    def harmless(raw):
        for record in raw["records"]:
            if record["stage"] == "audit":
                record["id"] = "f" * 16
                for attack in record["audit"]["attacks"]:
                    attack["auc"] = 0.5

    assert "known" in report_of(tampered(folder, harmless), accepted_results).codes()

    def impossible(raw):
        for record in raw["records"]:
            if record["stage"] == "audit":
                record["audit"]["exact_members"] = [n + 1 for n in record["audit"]["n_released"]]

    assert "audit" in report_of(tampered(folder, impossible), accepted_results).codes()


def subset(folder, keep, method="synalign"):
    """Keeps some records of a pack."""
    path = folder / "records" / "lite-v1" / "sst2" / f"{method}.json"
    records, sets = parse_pack(json.loads(path.read_text()), "pack")
    kept = {key: record for key, record in records.items() if keep(record)}
    path.write_text(_dump(kept, {key: made for key, made in sets.items() if key in kept}))
    write_manifest(folder)
    return folder


def test_a_row_without_its_source_learner_is_incomplete(submission, accepted_results):
    def one(raws, sets):
        raws[:] = [raw for raw in raws if raw["learner"] in (None, "bow-logreg")]

    assert "incomplete" in report_of(forged(submission, one), accepted_results).codes()


def test_a_submission_fills_the_hole_of_an_accepted_row(submission, tmp_path):
    """Two of five sets are missing; what is there counts, and a run that bears out an accepted one is left out."""
    accept_packs(
        subset(from_accepted(tmp_path / "few"), lambda r: r.cell.set_index < 3) / "records",
        tmp_path / "kept",
        "synalign",
    )
    known = Archive(tmp_path / "kept")
    rest = subset(submission, lambda r: r.cell.set_index >= 3)
    report = report_of(rest, known)
    assert "incomplete" not in report.codes(), report.sorted()
    short = subset(from_accepted(tmp_path / "short"), lambda r: r.cell.set_index == 3)
    assert "incomplete" in report_of(short, known).codes()


def test_a_run_that_bears_out_an_accepted_one_is_no_contradiction(submission, accepted_results):
    def later(raw):
        for record in raw["records"]:
            record["created"] = "2026-11-29T00:00:00+00:00"
            record["cost"] = [{"phase": "distil", "wall_s": 99.0}]

    report = report_of(tampered(submission, later), accepted_results)
    assert "known" not in report.codes(), report.sorted()
    assert any(f.code == "known" and "left out" in f.message for f in report.findings)


def test_the_form_of_an_accepted_method_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr("tdbench.bench.commands.submit.SUBMISSIONS", tmp_path / "forms")
    for known, name in (((), "mine.yaml"), (("mine",), "mine.2.yaml"), (("mine",), "mine.3.yaml")):
        place = _place_of_form("mine", set(known))
        assert place.name == name
        write_form(tmp_path)
        (tmp_path / "submission.yaml").rename(place)
    said = about_methods(["mine"], tmp_path / "forms")["mine"]
    assert said[0] == ("authors", "A. Researcher, B. Researcher")
    assert said[-2:] == [("further runs by", "A. Researcher, B. Researcher")] * 2


def test_what_is_accepted_joins_the_records_with_its_form(submission, tmp_path, monkeypatch, capsys):
    for name, place in (("RECORDS", "kept"), ("SUBMISSIONS", "forms")):
        monkeypatch.setattr(f"tdbench.bench.commands.submit.{name}", tmp_path / place)
    accept_packs(from_accepted(tmp_path / "known", ("random",)) / "records", tmp_path / "kept", "random")
    folder = forged(submission, nothing)
    options = {"strict": False, "retrain": 0, "as_json": True}
    assert validate_command(folder, accept=True, allow_unchecked=False, **options) == 1
    assert not (tmp_path / "kept" / "lite-v1" / "sst2" / "mymethod.json").exists()
    said = json.loads(capsys.readouterr().out)["findings"]
    assert any(finding["code"] == "unchecked" and "--allow-unchecked" in finding["message"] for finding in said)
    assert validate_command(folder, accept=True, allow_unchecked=True, **options) == 0
    assert {r.cell.method for r in Archive(tmp_path / "kept").records()} == {"mymethod", "random"}
    assert (tmp_path / "forms" / "mymethod.yaml").read_text() == (folder / "submission.yaml").read_text()
