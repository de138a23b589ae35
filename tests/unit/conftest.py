"""Shared fixtures of the unit tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tdbench.bench._paths import RECORDS
from tdbench.bench.canonical import sha256_text
from tdbench.bench.experiment.archive import Archive
from tdbench.bench.record import (
    Cell,
    DistilResult,
    Failure,
    MethodFacts,
    PhaseCost,
    Provenance,
    Record,
    TextQuality,
    TrainResult,
    set_sha256,
)
from tests.unit.submissions import from_accepted
from tests.unit.tiny_models import TinyModels

if TYPE_CHECKING:
    from tdbench.bench.data.text import LabelledText

PROTOCOL: dict[str, Any] = {
    "name": "tiny-v1",
    "source": "minilm",
    "learners": ["minilm", "textcnn"],
    "max_length": 64,
    "steps": 30,
    "batch_size": 32,
    "sets": {"seconds": 3, "minutes": 2, "hours": 1},
    "seeds_per_set": 1,
    "deterministic": {"sets": 1, "seeds": 3},
    "full": {"steps": 100, "seeds": 1},
    "test_rows": 200,
}

FACTS = ("label", "family", "cost_class", "deterministic", "reference", "private", "full_data", "external", "tags")
CELL = ("task", "task_options", "task_version", "data_kind", "data_fingerprint", "method_version", "options", "source")

ROLES = {
    **{name: name for name in ("random", "kmeans", "full", "majority")},
    "teacher-labels": "soft-labels",
    "class-mean": "vectors",
}
"""Roles of methods in synthetic records, by name."""


class RecordFactory:
    """Makes the records of one method: a list of sets, each a list of seed accuracies, for every learner."""

    protocol = PROTOCOL

    def runs(self, method: str, accuracies: dict[str, list[list[float]]], **facts: Any) -> list[Record]:
        """Returns all records of a method; facts name fields of the cell, the card or the results."""
        n_sets = max(len(sets) for sets in accuracies.values())
        indices = facts.pop("set_indices", range(n_sets))
        records: list[Record] = []
        for position, index in enumerate(indices):
            records.append(self.distil(method, index, **facts))
            for learner, sets in accuracies.items():
                seeds = sets[position] if position < len(sets) else []
                records += [self.train(method, index, learner, s, value, **facts) for s, value in enumerate(seeds)]
        return records

    def distil(self, method: str, set_index: int, **facts: Any) -> Record:
        """Returns one distil record."""
        status = facts.get("distil_status", "ok")
        result = DistilResult(
            track=facts.get("track", "text"),
            output=facts.get("output", "text"),
            n_rows=facts.get("n_rows", 40),
            rows_per_class=(10, 10, 10, 10),
            n_tokens=900,
            n_bytes=4000,
            n_test_exact=facts.get("n_test_exact", 0),
            epsilon=facts.get("epsilon"),
            diagnostics=facts.get("diagnostics", {}),
            quality=TextQuality(version=1, encoder=None, values=facts["quality"]) if "quality" in facts else None,
            privacy=facts.get("privacy"),
            contamination=facts.get("distil_contamination", ""),
        )
        return self._record(
            method,
            set_index,
            facts,
            stage="distil",
            id=self._distil_id(method, set_index, facts),
            status=status,
            distil=result if status == "ok" else None,
            artefacts={"set": sha256_text(method if facts.get("same_set") else f"{method} {set_index}")},
            cost=facts.get("distil_cost", (PhaseCost(phase="distil", wall_s=2.0, cpu_s=3.0),)),
        )

    def train(
        self, method: str, set_index: int, learner: str, seed_index: int, accuracy: float | None, **facts: Any
    ) -> Record:
        """Returns one train record; an accuracy of null makes it a failed one."""
        protocol = {**self.protocol, **facts.get("protocol", {})}
        train = None if accuracy is None else self._train_result(learner, seed_index, accuracy, protocol, facts)
        distil_id = self._distil_id(method, set_index, facts)
        return self._record(
            method,
            set_index,
            facts,
            stage="train",
            id=f"{distil_id}/{protocol['name']}/{learner}/{seed_index}/{facts.get('custom', False)}/{len(protocol)}",
            status="failed" if train is None else "ok",
            learner=learner,
            seed_index=seed_index,
            set_sha256=set_sha256(self.distil(method, set_index, **facts)),
            protocol=protocol,
            custom=facts.get("custom", False),
            train=train,
            error=Failure(type="X", message="x", traceback="x") if train is None else None,
            cost=facts.get("train_cost", (PhaseCost(phase="train", wall_s=5.0), PhaseCost(phase="test", wall_s=1.0))),
        )

    def _train_result(
        self, learner: str, seed_index: int, accuracy: float, protocol: dict[str, Any], facts: dict[str, Any]
    ) -> TrainResult:
        return TrainResult(
            learner=learner,
            learner_spec={},
            engine_numerics=1,
            is_source=learner == protocol["source"],
            seed_index=seed_index,
            seed=seed_index,
            steps=30,
            lr=1e-3,
            n_test=200,
            test_fingerprint=facts.get("test_fingerprint", "test-a"),
            accuracy_frac=accuracy,
            macro_f1_frac=facts.get("macro_f1", lambda value: value - 0.01)(accuracy),
            metric=facts.get("metric", "accuracy_frac"),
            contamination=facts.get("contamination", {}).get(learner, ""),
            majority_frac=facts.get("majority", 0.25),
            predictions=(0, 1),
            notes=facts.get("notes", {}).get(learner, ()),
        )

    def _distil_id(self, method: str, set_index: int, facts: dict[str, Any]) -> str:
        parts = [facts.get(name, "") for name in ("budget", "track", *CELL)]
        return f"{method}/{set_index}/{parts}"

    def _record(self, method: str, set_index: int, facts: dict[str, Any], **fields: Any) -> Record:
        cell: dict[str, Any] = {
            "task": "news",
            "task_version": 1,
            "data_kind": "real",
            "data_fingerprint": "data-a",
            "method_version": 1,
            "source": {"learner": "minilm"},
            **{name: facts[name] for name in CELL if name in facts},
        }
        card = {"label": method, "family": "selection", "cost_class": "seconds", "role": ROLES.get(method, "")}
        return Record(
            distil_id=self._distil_id(method, set_index, facts),
            cell=Cell(
                method=method,
                config={},
                budget=facts.get("budget", "dpc10"),
                per_class=10,
                tokens_per_class=None,
                set_index=set_index,
                **cell,
            ),
            method_facts=MethodFacts.model_validate(card | {name: facts[name] for name in FACTS if name in facts}),
            provenance=Provenance(
                suite_version="0.1.0",
                git_commit=None,
                git_dirty=None,
                python="3.11",
                packages={},
                platform="linux",
                cpu=facts.get("cpu", "Some CPU"),
                cores=2,
                gpu=None,
                device=facts.get("device", "cpu"),
            ),
            created=facts.get("created", "2026-01-01T00:00:00+00:00"),
            **fields,
        )

    def board(self, **facts: Any) -> list[Record]:
        """Returns a whole small board: references, a strong and a weak method, majority and full."""
        fixed = {"reference": True, "deterministic": True}
        sets = {"minilm": [[0.60], [0.62], [0.64]], "textcnn": [[0.50], [0.52], [0.54]]}
        better = {name: [[value + 0.1] for (value,) in values] for name, values in sets.items()}
        records = self.runs("random", sets, reference=True, **facts)
        records += self.runs("kmeans", {n: [[0.65, 0.66, 0.67]] for n in sets}, **fixed, **facts)
        records += self.runs("strong", better, cost_class="seconds", **facts)
        records += self.runs("weak", {n: [[0.25], [0.26], [0.27]] for n in sets}, **facts)
        records += self.runs("majority", {n: [[0.25] * 3] for n in sets}, budget="all", **fixed, **facts)
        full = {"minilm": [[0.92]], "textcnn": [[0.88]]}
        return records + self.runs("full", full, budget="all", full_data=True, reference=True, **facts)


@pytest.fixture
def board_records() -> RecordFactory:
    """Makes synthetic records for the leaderboard."""
    return RecordFactory()


@pytest.fixture
def tiny() -> TinyModels:
    """Makes random two-layer encoders, texts for them, and their scores."""
    return TinyModels()


@pytest.fixture
def failures() -> Callable[[type], dict[str, str]]:
    """What the conformance suite finds wrong with a plug-in: check without its place -> advice; imports of test files are left out."""
    from tdbench.bench.testing import check

    def call(plugin: type) -> dict[str, str]:
        found = {finding.what.split(" (")[0]: finding.fix for finding in check(plugin).findings if not finding.ok}
        of_this_file = ("it imports tdbench.api", "its module is fast", "it uses no pickles")
        return {what: fix for what, fix in found.items() if not what.startswith(of_this_file)}

    return call


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Runs torch on one thread: on busy cores, threads that wait for each other make tiny models many times slower."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Computes in float32: the processor's own compute type rounds more than some tests allow."""
    import torch

    for module in ("tdbench.bench.training.prepared", "tdbench.bench.models.task_lm"):
        monkeypatch.setattr(f"{module}.compute_dtype", lambda _: torch.float32)


@pytest.fixture
def real() -> LabelledText:
    """The train split of a small task with four classes."""
    from tdbench.bench.testing.texts import small_task

    return small_task("four classes").train


@pytest.fixture(scope="session")
def accepted_results() -> Archive:
    """The committed results."""
    return Archive(RECORDS)


@pytest.fixture
def submission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole submission; data are left out, so that checks rest on the submission alone."""
    monkeypatch.setenv("TDBENCH_DATA", str(tmp_path / "no-data"))
    return from_accepted(tmp_path / "mine")
