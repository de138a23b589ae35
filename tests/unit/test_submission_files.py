"""Files of hostile submissions: JSON, YAML, forms, names and links."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tdbench.bench.submission import intake
from tdbench.bench.submission.collect import write_manifest
from tdbench.bench.submission.intake import FORM, MANIFEST, name_problem
from tests.unit.submissions import FILLED, PACK, report_of, write_form


def raw_pack(submission: Path, text: str) -> Path:
    (submission / PACK).write_text(text)
    write_manifest(submission)
    return submission


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "JSON"),
        ("{" * 100 + "}" * 100, "nested"),
        ("[" * 200_000, "nested"),
        ('{"pack_version": NaN}', "NaN"),
        ('{"pack_version": 1e999}', "finite"),
        ('{"pack_version": 1, "pack_version": 1}', "twice"),
        ('"\\ud800"', "pack"),
        ("null", "pack"),
        ("[1]", "pack"),
    ],
)
def test_json_that_is_no_pack_is_refused(submission, text, said):
    report = report_of(raw_pack(submission, text))
    assert any(f.code == "pack" and said in f.message + f.where for f in report.findings if f.severity == "error")


def test_json_in_another_encoding_is_refused(submission):
    (submission / PACK).write_bytes(b"\xff\xfe{\x00}\x00")
    write_manifest(submission)
    assert "pack" in report_of(submission).codes()


def test_edited_missing_and_added_files_are_seen(submission):
    (submission / PACK).write_text((submission / PACK).read_text() + " ")
    assert "hash" in report_of(submission).codes()
    (submission / PACK).unlink()
    assert "hash" in report_of(submission).codes()
    (submission / "records" / "lite-v1" / "sst2" / "other.json").write_text("{}")
    assert "hash" in report_of(submission).codes()
    (submission / MANIFEST).unlink()
    assert "missing-file" in report_of(submission).codes()


@pytest.mark.parametrize(
    "name", ["run.py", "x.pkl", "records/a.json", "sets/x/distilled.parquet", ".hidden.json", "a b.json"]
)
def test_files_that_belong_to_no_submission_are_refused(submission, name):
    path = submission / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    write_manifest(submission)
    assert {"unexpected-file", "file-name"} & report_of(submission).codes()


def test_links_are_refused_and_not_followed(submission, tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    (submission / "records" / "lite-v1" / "sst2" / "link.json").symlink_to(secret)
    (submission / "records" / "lite-v1" / "linked").symlink_to(tmp_path)
    os.link(secret, submission / "records" / "lite-v1" / "sst2" / "hard.json")
    report = report_of(submission)
    assert sum(finding.code == "link" for finding in report.findings) == 3
    (tmp_path / "folder-link").symlink_to(submission)
    assert report_of(tmp_path / "folder-link").codes() == {"link"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x 1\nb: *x", "anchor"),
        ("a: !!python/object/apply:os.system ['touch broken']", "tag"),
        ("a: [" * 50 + "]" * 50, "nested"),
        ("a: 1\na: 2", "twice"),
        ("a: .inf", "finite"),
        ("1: x", "no text"),
        ("a: 'x", "YAML"),
        ("- a", "form"),
        ("x" * 100_000, "KiB"),
        ("\x00", "YAML"),
        ("", "form"),
    ],
)
def test_yaml_that_is_no_form_is_refused(submission, text, said):
    (submission / FORM).write_text(text)
    report = report_of(submission)
    assert any(f.code == "form" and said in f"{f.where} {f.message} form" for f in report.findings), report.sorted()
    assert not Path("broken").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"authors": []},
        {"authors": ["<b>Me</b>"]},
        {"title": "=cmd|' /C calc'!A0"},
        {"title": "a\u202eb"},
        {"title": "TODO: later"},
        {"contact": ""},
        {"division": "best"},
        {"code": "javascript:alert(1)"},
        {"code": "http://example.org"},
        {"tags": ["Very Good"]},
        {"tuning": {"configurations": -1, "chosen_on": "x"}},
        {"tuning": {"configurations": "few", "chosen_on": "x"}},
        {"tuning": {"configurations": 1}},
        {"form_version": 2},
        {"method": "../random"},
        {"more": 1},
        {"title": 7},
        {"title": "e\u0301"},
    ],
)
def test_a_form_with_a_wrong_field_is_refused(submission, change):
    write_form(submission, **change)
    assert "form" in report_of(submission).codes()


def test_a_form_about_another_method_is_refused(submission, accepted_results):
    write_form(submission, method="kmeans")
    assert "method" in report_of(submission, accepted_results).codes()


@pytest.mark.parametrize(
    "name",
    [
        "../../evil.json",
        "/etc/evil.json",
        "a/../../evil.json",
        "C:/evil.json",
        "..\\evil.json",
        "a//evil.json",
        "con.json",
        "e\u0301.json",
        "\u202egnosj.json",
        "a/b/c/d/e/f/g/h.json",
        "evil.exe",
        "x" * 300 + ".json",
    ],
)
def test_harmful_names_are_refused(name):
    assert name_problem(name)


def test_names_that_differ_only_in_case_are_refused(submission):
    (submission / "README.md").write_text("a")
    (submission / "readme.md").write_text("b")
    assert "file-name" in report_of(submission).codes()


def test_too_many_and_too_large_files_are_refused(submission, monkeypatch):
    monkeypatch.setattr(intake, "MOST_FILES", 2)
    assert "too-many-files" in report_of(submission).codes()
    monkeypatch.undo()
    monkeypatch.setattr(intake, "MOST_BYTES", 1_000)
    assert "too-large" in report_of(submission).codes()


def test_what_is_no_submission_says_so(tmp_path):
    (tmp_path / "empty").mkdir()
    assert report_of(tmp_path / "nothing").codes() == {"no-submission"}
    assert report_of(tmp_path / "empty").refused
    (tmp_path / "file.json").write_text("{}")
    assert report_of(tmp_path / "file.json").codes() == {"no-submission"}


def test_form_of_the_tests_is_filled_in():
    assert json.dumps(FILLED)
