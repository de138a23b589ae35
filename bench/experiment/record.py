"""Records: what one finished (or failed) stage leaves behind, and nothing else the leaderboard may read.

This module imports neither torch nor a plug-in, so that results can be read, checked and ranked anywhere.
"""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from tdbench.bench.canonical import sha256_text
from tdbench.bench.errors import RecordError
from tdbench.bench.experiment.audit_record import ROC_FPR, AttackResult, AuditResult, Frozen  # noqa: F401 - the leaderboard reads them here
from tdbench.bench.experiment.migrations import SCHEMA_VERSION, migrate
from tdbench.bench.experiment.privacy_record import PrivacyStatement, PrivateQuery  # noqa: F401 - the leaderboard reads them here

Track = Literal["text", "text+soft", "learner-bound"]
Output = Literal["rows", "text", "embedding"]
DataKind = Literal["real", "real-subset", "standin"]
CostClass = Literal["seconds", "minutes", "hours"]
Stage = Literal["distil", "train", "shadow", "query", "audit"]
"""`shadow`: a set made from a half of an audit's candidates; `query`: what a model trained on it says of them."""


class LLMCost(Frozen):
    """What calls of language models cost when they were first made, whether or not replies were kept from then."""

    models: tuple[str, ...]
    calls: int
    calls_kept: int
    """Calls whose replies were found among kept ones: nothing was paid again, and the phase's wall time does not hold them."""
    tokens_in: int | None
    tokens_out: int | None
    usd: float | None
    """US dollars at the prices that were given; null where they were not."""


class PhaseCost(Frozen):
    """What one phase of a stage cost. Unknown is null, never 0."""

    phase: str
    wall_s: float | None = None
    cpu_s: float | None = None
    """Processor seconds of this process and its ended children, all cores together."""
    gpu_s: float | None = None
    """Wall seconds during which a GPU was held by the phase; null on a CPU."""
    flops: float | None = None
    """Floating-point operations, counted by `flops_method`; null when they were not counted."""
    flops_method: str | None = None
    flops_gaps: tuple[str, ...] = ()
    """Parts of the work that `flops` leaves out."""
    peak_rss_gb: float | None = None
    peak_gpu_gb: float | None = None
    energy_j: float | None = None
    energy_source: str | None = None
    llm: LLMCost | None = None
    """Calls of language models; null where none was made."""
    from_cache: bool = False
    """True when the phase's result was read from a cache: the cost is the one of first computing it."""


class Cell(Frozen):
    """What was distilled: task x method x budget x set index. The part of an identity that all stages share."""

    task: str
    task_version: int
    task_options: dict[str, Any] = Field(default_factory=dict)
    """Options of the task that differ from its defaults."""
    data_kind: DataKind
    data_fingerprint: str
    method: str
    method_version: int
    config: dict[str, Any]
    """All options of the method."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the method that differ from its defaults."""
    budget: str
    per_class: int | None
    tokens_per_class: int | None
    set_index: int
    source: dict[str, Any]
    """The encoder that the method reads: source learner, its files' hash, maximum length in tokens. Empty where none is read."""


class MethodFacts(Frozen):
    """The part of a method's card that rankings need."""

    label: str
    """Name shown in tables: the preset's, or the method's."""
    family: str
    cost_class: CostClass
    deterministic: bool = False
    reference: bool = False
    private: bool = False
    full_data: bool = False
    """True for training on all real data: never ranked, drawn as a line."""
    external: bool = False
    """True for a set read from a file: never ranked."""
    seeds_per_set: int | None = None
    """Trainings of every set that a complete row has; null for as many as the protocol asks for."""
    tags: tuple[str, ...] = ()
    """Facts for which someone would reasonably exclude the method."""


class TextQuality(Frozen):
    """What the harness measured about a set's texts after the method had ended; docs/text-quality.md says what each number is."""

    version: int = Field(ge=0, le=1_000)
    """Version of the measures; 0 from before there was one."""
    encoder: str | None
    """Hash of the weights behind the numbers of sentences; null where they were not measured."""
    values: dict[str, Annotated[float, Field(ge=-1e12, le=1e12, strict=True)]]
    """By name; a number that was not measured is absent."""

    @model_validator(mode="after")
    def _shares_are_shares(self) -> TextQuality:
        for name, value in self.values.items():
            if name.endswith("_frac") and not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}, which is no share")
        return self


class DistilResult(Frozen):
    """Facts about one distilled set, counted by the harness."""

    track: Track
    output: Output
    n_rows: int
    rows_per_class: tuple[int, ...]
    n_tokens: int
    n_bytes: int
    n_test_exact: int
    """Distilled texts that equal a test text after case and white-space folding."""
    n_train_exact: int = 0
    """The same for train texts; counted for new text only."""
    n_public_exact: int = 0
    """Texts that are texts of other data sets, as a private method's public texts are."""
    contamination: str = ""
    """Why the training of the encoder that the method read may have seen the task; empty where nothing is known."""
    diagnostics: dict[str, float] = Field(default_factory=dict)
    """What the method measured about its set, by name; a measure that was not taken is absent."""
    quality: TextQuality | None = None
    """Null where the texts were not measured."""
    curves: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    """What the method noted at every step of its work, by name."""
    epsilon: float | Literal["inf"] | None = None
    delta: float | None = None
    """Of the same promise; one without it is not compared with an audit."""
    privacy: PrivacyStatement | None = None
    """What the promise rests on; private methods only."""


class TrainResult(Frozen):
    """One trained target model and its single reading of the test split."""

    learner: str
    learner_spec: dict[str, Any]
    engine_numerics: int
    is_source: bool
    seed_index: int
    seed: int
    mode: Literal["recipe", "learned-schedule"] = "recipe"
    """The protocol's recipe, or the steps that were learned with the set."""
    steps: int
    lr: float | None
    n_test: int
    test_fingerprint: str
    accuracy_frac: float = Field(ge=0, le=1)
    macro_f1_frac: float = Field(ge=0, le=1)
    majority_frac: float = Field(ge=0, le=1)
    """Accuracy of always predicting the most frequent class of the test rows."""
    metric: Literal["accuracy_frac", "macro_f1_frac"] = "accuracy_frac"
    """The task's headline."""
    contamination: str = ""
    """Why the learner's pre-training may have seen the task; empty where nothing is known."""
    predictions: tuple[int, ...]
    """Predicted class of every test row, in the order of the fixed test draw."""
    notes: tuple[str, ...] = ()


class Provenance(Frozen):
    """Where and with what a stage ran."""

    suite_version: str
    git_commit: str | None
    git_dirty: bool | None
    python: str
    packages: dict[str, str]
    platform: str
    cpu: str
    cores: int
    gpu: str | None
    device: str
    dtype: str | None = None
    plugin_source_sha256: str | None = None

    @property
    def hardware(self) -> str:
        """The GPU, else the processor."""
        return self.gpu or self.cpu


class Failure(Frozen):
    """Why a stage failed."""

    type: str
    message: str
    traceback: str


class Record(Frozen):
    """One stage of one cell."""

    schema_version: int = SCHEMA_VERSION
    stage: Stage
    id: str
    distil_id: str
    status: Literal["ok", "failed"]
    cell: Cell
    method_facts: MethodFacts
    learner: str | None = None
    """Name of the trained learner, train and query stages only; also on failures."""
    seed_index: int | None = None
    protocol: dict[str, Any] | None = None
    """The whole protocol; all stages but distil and shadow."""
    set_sha256: str | None = None
    """Content of the distilled set that was trained on, train and query stages only."""
    custom: bool = False
    """True when keys of the protocol, or of the audit, were overridden: such rows are never ranked."""
    distil: DistilResult | None = None
    train: TrainResult | None = None
    audit: AuditResult | None = None
    cost: tuple[PhaseCost, ...] = ()
    provenance: Provenance
    artefacts: dict[str, str] = Field(default_factory=dict)
    """File name -> sha256, beside the record."""
    error: Failure | None = None
    created: str
    """UTC time, ISO 8601."""

    @model_validator(mode="after")
    def _audits_are_whole(self) -> Record:
        if self.stage == "audit" and self.status == "ok" and (self.audit is None or self.protocol is None):
            raise ValueError("a finished audit holds its result and its protocol")
        return self


def set_sha256(distil: Record) -> str:
    """Returns one hash for the content of a distilled set: its table and tensors, not its card."""
    parts = [f"{name}:{sha}" for name, sha in sorted(distil.artefacts.items()) if not name.endswith(".yaml")]
    return sha256_text(";".join(parts))


def parse_record(raw: dict[str, Any], where: str) -> Record:
    """Validates one record.

    Raises:
        RecordError: It does not follow the schema; `where` is part of the message.
    """
    try:
        return Record.model_validate(migrate(raw))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RecordError(f"{where}: field '{place}': {first['msg']}; got {str(first.get('input'))[:80]!r}.") from None


def read_record(path: Path) -> Record:
    """Reads `record.json`.

    Raises:
        RecordError: It is not JSON or does not follow the schema.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: not JSON ({error}); delete the folder and run the command again.") from None
    return parse_record(raw, str(path))


def pack_ints(values: tuple[int, ...]) -> str:
    """Packs small non-negative integers (below 256) into compressed base-64 text."""
    return base64.b64encode(zlib.compress(bytes(values), 9)).decode()


def unpack_ints(text: str, limit: int = 1_000_000) -> tuple[int, ...]:
    """Undoes `pack_ints`; refuses to expand beyond `limit` values."""
    expander = zlib.decompressobj()
    try:
        values = expander.decompress(base64.b64decode(text, validate=True), max(1, limit))  # 0 would mean all
    except (zlib.error, ValueError) as error:
        raise RecordError(f"packed predictions cannot be read ({error}).") from None
    if expander.unconsumed_tail or not expander.eof:
        raise RecordError(f"packed predictions hold more than {limit} values or are cut off.")
    return tuple(values)
