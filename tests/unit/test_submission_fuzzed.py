"""Generated files, ten thousand in the long form: validation never crashes or hangs, and never writes anything."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tdbench.bench._paths import RECORDS
from tdbench.bench.commands.submit import validate
from tdbench.bench.experiment.archive import Archive
from tdbench.bench.submission.intake import (
    FORM,
    MANIFEST,
    Report,
    StrictError,
    read_contents,
    strict_json,
    strict_yaml,
)
from tests.unit.submissions import FILLED, PACK, from_accepted

EACH = 2_500 if os.environ.get("TDBENCH_TESTS") == "long" else 100
pytestmark = pytest.mark.long
LOOSE = settings(max_examples=EACH, deadline=None, suppress_health_check=list(HealthCheck), database=None)
SCALAR = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)
NAMES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [FORM, MANIFEST, PACK, "../x.json", "/x.json", "records/a/b/c.json", "sets/0123456789abcdef/card.yaml"]
    ),
)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> dict[str, bytes]:
    folder = from_accepted(tmp_path_factory.mktemp("small") / "mine", ("synalign",))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@LOOSE
@given(st.one_of(st.binary(max_size=400), VALUE.map(lambda value: json.dumps(value).encode())))
def test_json_is_read_or_refused(content):
    try:
        value = strict_json(content)
    except StrictError:
        return
    json.dumps(value, allow_nan=False)


@LOOSE
@given(
    st.one_of(
        st.binary(max_size=300),
        VALUE.map(lambda value: yaml.safe_dump(value).encode()),
        st.text(max_size=200).map(str.encode),
    )
)
def test_yaml_is_read_or_refused(content):
    with contextlib.suppress(StrictError):
        strict_yaml(content)


@LOOSE
@given(
    st.dictionaries(
        NAMES, st.one_of(st.binary(max_size=200), VALUE.map(lambda value: json.dumps(value).encode())), max_size=4
    )
)
def test_files_of_anything_are_read_or_refused(files):
    report = Report()
    read_contents(files, report)
    assert report.refused


@pytest.fixture(scope="module")
def nothing_accepted() -> Archive:
    return Archive(RECORDS / "none")


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        for key in value:
            found += places(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(min(3, len(value))):
            found += places(value[index], (*path, index))
    return found


@pytest.mark.timeout(600)
@settings(max_examples=EACH // 5, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.data())
def test_packs_with_one_part_replaced_are_checked_to_the_end(small, nothing_accepted, data):
    """Any value in the place of any part of a real pack: a report, never an exception."""
    raw = json.loads(small[PACK])
    raw["records"], kept = raw["records"][:2] + raw["records"][-1:], set()
    kept = {record["distil_id"] for record in raw["records"]}
    raw["sets"] = {key: made for key, made in raw["sets"].items() if key in kept}
    path = data.draw(st.sampled_from(places(raw)[1:]))
    target = raw
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = data.draw(VALUE)
    contents_of = {**small, PACK: json.dumps(raw).encode()}
    report = Report()
    contents = read_contents(contents_of, report)
    if contents.records:
        from tdbench.bench.submission.privacy_checks import check_promises
        from tdbench.bench.submission.record_checks import check_records
        from tdbench.bench.submission.set_checks import check_sets

        for check in (check_records, check_sets, check_promises):
            check(contents, nothing_accepted, report)
    assert report.refused  # the manifest does not fit, at least
    assert all(finding.message.isprintable() for finding in report.findings)


def test_folder_of_garbage_is_refused_without_a_trace(tmp_path):
    folder = tmp_path / "mine"
    (folder / "records").mkdir(parents=True)
    (folder / FORM).write_text(yaml.safe_dump(FILLED))
    (folder / "records" / "x.json").write_bytes(bytes(range(256)))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    report, _ = validate(folder, Archive(RECORDS / "none"))
    assert report.refused
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
