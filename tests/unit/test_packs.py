"""Packs of accepted sets and records."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdbench.bench._paths import RECORDS
from tdbench.bench.config import settings_for
from tdbench.bench.data.text import LabelledText
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.errors import RecordError
from tdbench.bench.experiment.archive import Archive, write_packs
from tdbench.bench.experiment.store import Store
from tdbench.bench.record import Record, pack_ints, set_sha256, unpack_ints
from tdbench.bench.record_migrations import migrate
from tdbench.bench.registry import METHODS

TRAIN_TEXTS = {"text": [f"secret real text {i}" for i in range(6)]}
REAL = LabelledText(TRAIN_TEXTS, np.arange(6) % 3, ("a", "b", "c"), np.arange(6, dtype=np.int64) * 10)
SOFT = np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]], dtype=np.float32)
SETS = (
    DistilledSet.from_rows(REAL, [4, 0, 2]),
    DistilledSet.from_texts({"text": ["né ew", "seçond\none"]}, [2, 0]),
    DistilledSet.from_texts(
        {"text": ["new", "second"]}, [0, 1], soft_labels_MC=SOFT, weights_M=np.array([1e-8, 0.1], np.float32)
    ),
)


def content(made: DistilledSet) -> list[Any]:
    arrays = (made.labels_M, made.row_ids_M, made.soft_labels_MC, made.weights_M)
    return [made.fields, *(None if array is None else array.tolist() for array in arrays)]


@given(st.lists(st.integers(0, 255), max_size=300))
@settings(deadline=None)
def test_packed_integers_unpack_to_themselves(values):
    assert unpack_ints(pack_ints(tuple(values))) == tuple(values)


def test_packed_integers_that_are_too_many_or_cut_off_are_refused():
    packed = pack_ints((1,) * 5_000)
    for text, limit in ((packed, 4_999), (base64.b64encode(base64.b64decode(packed)[:-6]).decode(), 10_000)):
        with pytest.raises(RecordError, match="cut off"):
            unpack_ints(text, limit)


@pytest.fixture
def store(tmp_path, board_records):
    """A run folder with three finished sets, each trained once."""
    (smoke,) = settings_for(["task=agnews", "protocol=smoke", "method=random", "budget=dpc10"])
    protocol = smoke.protocol.model_dump(mode="json")  # only published protocols are packed
    store, records = Store(tmp_path / "runs"), []
    for index, made in enumerate(SETS):
        distil = board_records.distil("mine", index).model_copy(update={"id": f"d{index}", "distil_id": f"d{index}"})
        with store.writing("distil", distil.id) as scratch:
            distil = distil.model_copy(update={"artefacts": made.save(scratch, {})})
            store.put(distil, scratch)
        train = board_records.train("mine", index, "minilm", 0, 0.5)
        known = {"id": f"t{index}", "distil_id": distil.id, "protocol": protocol, "set_sha256": set_sha256(distil)}
        records += [train.model_copy(update=known), distil]
    return store, records


def pack(store: tuple[Store, list[Record]], folder: Path) -> Path:
    (path,) = write_packs(store[0], folder, store[1])
    return path


def test_a_pack_gives_back_every_record_and_set(store, tmp_path):
    path = pack(store, tmp_path / "packs")
    assert path == tmp_path / "packs" / "smoke" / "news" / "mine.json"
    accepted = Archive(tmp_path / "packs")
    assert {r.id: r for r in accepted.records()} == {r.id: r for r in store[1]}
    for index, made in enumerate(SETS):
        assert content(accepted.distilled(f"d{index}", REAL)) == content(made)
    assert accepted.get("nobody") is None
    assert "secret" not in path.read_text()


def test_packing_again_changes_nothing_and_failed_or_custom_records_stay_out(store, tmp_path, board_records):
    path = pack(store, tmp_path / "packs")
    before = path.read_bytes()
    failed = board_records.train("mine", 0, "textcnn", 0, None).model_copy(update={"distil_id": "d0"})
    custom = board_records.train("mine", 0, "textcnn", 0, 0.4, custom=True).model_copy(update={"distil_id": "d0"})
    assert write_packs(store[0], tmp_path / "packs", [*store[1], failed, custom]) == [path]
    assert path.read_bytes() == before


def test_a_pack_keeps_sets_whose_folder_is_gone(store, tmp_path):
    path = pack(store, tmp_path / "packs")
    before = path.read_bytes()
    shutil.rmtree(tmp_path / "runs" / "distil")
    trains = [record for record in store[1] if record.stage == "train"]
    assert write_packs(store[0], tmp_path / "packs", trains) == [path]
    assert path.read_bytes() == before


def by_engine(record: Record, new_id: str, numerics: int, **changes: Any) -> Record:
    """The record as another version of the engine would have made it."""
    assert record.train is not None
    train = record.train.model_copy(update={"engine_numerics": numerics})
    return record.model_copy(update={"id": new_id, "train": train, **changes})


def test_what_a_newer_engine_trained_anew_replaces_the_older_training_and_its_set(store, tmp_path):
    runs, records = store
    by_id = {record.id: record for record in records}
    cell = by_id["d0"].cell.model_copy(update={"source": {"weights": "another build"}})
    other_set = by_id["d0"].model_copy(update={"id": "d9", "distil_id": "d9", "cell": cell})
    with runs.writing("distil", "d9") as scratch:
        other_set = other_set.model_copy(update={"artefacts": SETS[0].save(scratch, {})})
        runs.put(other_set, scratch)
    pack(store, tmp_path / "packs")
    numerics = by_id["t0"].train.engine_numerics
    made_anew = {"distil_id": "d9", "cell": cell, "set_sha256": set_sha256(other_set)}
    newer = by_engine(by_id["t0"], "t0-new", numerics + 1, **made_anew)
    other_seed = by_engine(by_id["t1"], "t1-new", numerics + 1, seed_index=7)
    write_packs(runs, tmp_path / "packs", [newer, other_set, other_seed])
    accepted = Archive(tmp_path / "packs")
    assert {r.id for r in accepted.records()} == {"t0-new", "d9", "t1", "t1-new", "d1", "t2", "d2"}
    assert content(accepted.distilled("d9", REAL)) == content(SETS[0])
    with pytest.raises(RecordError, match="no distilled set d0"):
        accepted.distilled("d0", REAL)
    older_again = [by_id["t0"], by_id["d0"]]
    assert "t0" not in {r.id for r in Archive(pack((runs, older_again), tmp_path / "packs").parents[2]).records()}


def test_an_absent_pack_folder_holds_nothing_and_an_unknown_set_is_an_error(tmp_path):
    assert Archive(tmp_path / "nowhere").records() == []
    with pytest.raises(RecordError, match="no distilled set d9"):
        Archive(tmp_path / "nowhere").distilled("d9", REAL)


def cut_predictions(raw: dict[str, Any]) -> None:
    train = next(record for record in raw["records"] if record.get("train"))["train"]
    train["predictions"] = base64.b64encode(base64.b64decode(train["predictions"])[:-5]).decode()


def stretch_steps(raw: dict[str, Any]) -> None:
    next(shared for shared in raw["shared"] if "steps" in shared)["steps"] = 99_999


def inflate(raw: dict[str, Any]) -> None:
    next(record for record in raw["records"] if record.get("train"))["train"]["accuracy_frac"] = 99.0


def test_a_set_made_anew_stays_out_of_packs_and_of_copied_text_only_the_record_is_kept(store, tmp_path):
    runs, records = store
    stale = [r.model_copy(update={"set_sha256": "0" * 64}) if r.id == "t0" else r for r in records]
    copied = [
        r.model_copy(update={"distil": r.distil.model_copy(update={"n_train_exact": 1})}) if r.id == "d1" else r
        for r in stale
    ]
    write_packs(runs, tmp_path / "packs", copied)
    accepted = Archive(tmp_path / "packs")
    assert {r.id for r in accepted.records()} == {"t1", "d1", "t2", "d2"}
    assert accepted.packed_set("d1") == {
        "not_kept": "1 of its texts equal train texts; the record names the set's sha256"
    }
    assert "fields" in accepted.packed_set("d2") or "row_ids" in accepted.packed_set("d2")


def test_texts_of_other_data_sets_are_not_kept_either(store, tmp_path):
    runs, records = store
    borrowed = [
        r.model_copy(update={"distil": r.distil.model_copy(update={"n_public_exact": 3})}) if r.id == "d1" else r
        for r in records
    ]
    write_packs(runs, tmp_path / "packs", borrowed)
    packed = Archive(tmp_path / "packs").packed_set("d1")
    assert packed == {"not_kept": "3 of its texts are those of other data sets; the record names the set's sha256"}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda raw: raw.update(pack_version=99), "pack version is 99, expected 1", id="version"),
        pytest.param(lambda raw: raw.pop("sets"), "is no pack", id="no sets"),
        pytest.param(lambda raw: raw["shared"].clear(), "is no pack", id="nothing shared"),
        pytest.param(lambda raw: raw["records"][0].update(status="great"), "field 'status'", id="bad field"),
        pytest.param(lambda raw: raw["records"][0].update(schema_version=999), "schema version is 999", id="schema"),
        pytest.param(cut_predictions, "cannot be read|cut off", id="truncated predictions"),
        pytest.param(stretch_steps, "not the published one", id="forged protocol"),
        pytest.param(inflate, "less than or equal to 1", id="accuracy above 1"),
    ],
)
def test_a_damaged_pack_is_refused_with_the_reason(store, tmp_path, damage, message):
    path = pack(store, tmp_path / "packs")
    raw = json.loads(path.read_text())
    damage(raw)
    path.write_text(json.dumps(raw))
    with pytest.raises(RecordError, match=message):
        Archive(tmp_path / "packs")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\x00"])
def test_a_file_that_is_no_pack_is_refused_by_its_path(tmp_path, content):
    path = tmp_path / "p" / "t" / "mine.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(RecordError, match=r"mine\.json is no pack"):
        Archive(tmp_path)


def test_records_of_the_first_schema_are_led_to_the_current_one(store, tmp_path):
    path = pack(store, tmp_path / "packs")
    raw = json.loads(path.read_text())
    for record in raw["records"]:
        record["schema_version"] = 1
    path.write_text(json.dumps(raw))
    assert {r.id: r for r in Archive(tmp_path / "packs").records()} == {r.id: r for r in store[1]}


def test_older_records_have_tags_and_role_of_the_methods_card():
    raw = {"schema_version": 9, "cell": {"method": "dp_pe"}, "method_facts": {"private": True}}
    assert migrate(raw)["method_facts"] == {"private": True, "tags": ["public-pool"], "role": ""}
    own = {**raw, "method_facts": {"tags": ["own"], "role": "kmeans"}}
    assert migrate(own)["method_facts"] == {"tags": ["own"], "role": "kmeans"}
    assert migrate({**raw, "cell": {"method": "random"}})["method_facts"]["role"] == "random"
    assert migrate({**raw, "cell": None})["cell"] is None


def test_tags_and_roles_of_accepted_records_are_those_of_the_cards():
    records = Archive(RECORDS).records()
    assert {tag for record in records for tag in record.method_facts.tags} >= {"public-pool", "real-texts-in-prompts"}
    for record in records:
        card = METHODS.get(record.cell.method).card
        assert (record.method_facts.tags, record.method_facts.role) == (card.tags, card.role), record.cell.method
