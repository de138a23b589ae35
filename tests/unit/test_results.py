"""Results of run folder and archive: which of them a set is taken from."""

from __future__ import annotations

import pytest

from tdbench.bench._paths import RECORDS
from tdbench.bench.errors import RecordError
from tdbench.bench.experiment.results import Results
from tdbench.bench.record import Record, set_sha256


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> tuple[Results, Record]:
    """The archive beside an empty run folder, and the record of a set of generated texts that it holds."""
    results = Results(tmp_path_factory.mktemp("runs"), RECORDS)
    sets = [record for record in results.records() if record.distil is not None and record.distil.output == "text"]
    assert results.archive is not None
    return results, next(record for record in sets if results.archive.keeps(record.id))


def test_a_set_that_the_run_folder_lacks_is_the_archives(archive):
    results, record = archive
    assert len(results.distilled(record)) == record.distil.n_rows


def test_the_archives_set_never_stands_for_one_of_other_content(archive):
    results, record = archive
    table = next(name for name in record.artefacts if name.endswith(".parquet"))
    other = record.model_copy(update={"artefacts": {**record.artefacts, table: "0" * 64}})
    assert set_sha256(other) != set_sha256(record)
    with pytest.raises(RecordError, match="missing or differs"):
        results.distilled(other)
