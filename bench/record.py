"""Records of finished and failed stages: the only module of the harness that the leaderboard reads, besides errors.

It imports neither torch nor a plug-in, so that results can be read, checked and ranked anywhere.
"""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, field_validator, model_validator

from tdbench.bench.canonical import sha256_text
from tdbench.bench.errors import RecordError
from tdbench.bench.record_migrations import SCHEMA_VERSION, migrate

Game = Literal["text", "model"]

Share = Annotated[float, Field(ge=0, le=1)]

ROC_FPR = tuple(float(f"{10 ** (exponent / 10):.4g}") for exponent in range(-30, 1))
"""False-positive rates at which curves are kept: ten a decade, from 0.001 to 1."""


class Frozen(BaseModel):
    """Base of everything in a record."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class AttackResult(Frozen):
    """One attack, over all runs. AUC 0.5 is chance."""

    name: str
    game: Game
    headline: bool
    """Named before anything was measured: what the board shows."""
    auc: Share
    auc_low: Share
    auc_high: Share
    """95 % interval, over records and pairs of runs; over records alone where there is one pair or one run."""
    se: float = Field(ge=0)
    detectable_auc: Share | None
    """Smallest AUC whose interval keeps clear of 0.5 with probability 0.8; null for an attack that never varies."""
    run_aucs: tuple[Share, ...]
    tpr_at_1pct: Share | None = None
    """True-positive rate at a false-positive rate of 1 %; null with fewer than 1,000 non-members."""
    tpr_low: Share | None = None
    tpr_high: Share | None = None
    """Clopper-Pearson, for the members of one run; the threshold's own chance is not in it."""
    roc_tpr: tuple[Share, ...] = ()
    """True-positive rates at ROC_FPR; the headline's only."""
    null_auc: Share | None = None
    """The same attack on a set that was made from auxiliary rows: chance, or the audit is wrong."""
    null_low: Share | None = None
    null_high: Share | None = None
    null_p: Share | None = None
    """Two-sided, of 0.5."""

    @field_validator("roc_tpr")
    @classmethod
    def _one_value_a_rate(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(value) not in (0, len(ROC_FPR)):
            raise ValueError(f"expected {len(ROC_FPR)} values, or none")
        return value


class CoinTest(Frozen):
    """A test that needs no shadow runs: memberships, fair coins each, are guessed from the released sets, and right guesses counted."""

    test: Literal["phantom", "ranking"]
    """`phantom`: candidates of which a set repeats a rare 8-gram, or everything, are guessed to be members (Amin et al., 2026). `ranking`:
    the headline's highest are, and its lowest are guessed not to be (Steinke et al., 2023)."""
    game: Game
    coins: int = Field(ge=0)
    guesses: int = Field(ge=0)
    right: int = Field(ge=0)
    p_value: Share
    """Chance of so many right guesses, had the sets nothing to do with the candidates."""
    epsilon_lower: float = Field(ge=0)
    """Lower bound on epsilon; all of an audit's hold together at 95 %."""


class AuditResult(Frozen):
    """Membership inference on one method: several runs, each on another half of the same candidates."""

    audit_version: int
    settings: dict
    """The whole audit, with its name."""
    games: tuple[Game, ...]
    n_candidates: int
    """Records that coins were thrown for."""
    n_groups: int
    """Groups of near-duplicates among them, which are what is counted."""
    n_auxiliary: int
    n_member_rows: tuple[int, ...] = Field(min_length=1)
    """Rows that a set was made from, by run."""
    n_members: tuple[int, ...]
    """Groups of near-duplicates among them, which is what attacks are scored on."""
    n_non_members: tuple[int, ...]
    n_released: tuple[int, ...]
    """Size of the set, by run."""
    exact_members: tuple[int, ...]
    """Released texts that equal a member, by run."""
    exact_non_members: tuple[int, ...]
    """Released texts that equal a non-member: what happens by chance."""
    exact_null: int | None = None
    """Texts of the null run that equal a candidate."""
    attacks: tuple[AttackResult, ...]
    coin_tests: tuple[CoinTest, ...] = ()
    epsilon_lower: float = Field(ge=0)
    """The largest of their lower bounds."""
    epsilon_claim: float | Literal["inf"] | None = None
    """What the method promises; a smaller one than the lower bound is refuted."""
    delta: float
    blind_auc: float
    """A classifier that sees candidates and coins but no set; chance, or members and non-members differ by themselves."""
    blind_low: float
    blind_high: float
    set_sha256s: tuple[str, ...]
    """Content of every run's set, and last of the null run's."""
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> AuditResult:
        by_run = (self.n_members, self.n_non_members, self.n_released, self.exact_members, self.exact_non_members)
        if {len(values) for values in by_run} != {len(self.n_member_rows)}:
            raise ValueError("numbers by run have different lengths")
        if self.epsilon_lower != max((test.epsilon_lower for test in self.coin_tests), default=0.0):
            raise ValueError("epsilon_lower is not the largest of the coin tests'")
        for game in ("text", "model"):
            if sum(attack.headline and attack.game == game for attack in self.attacks) > 1:
                raise ValueError(f"more than one attack of game '{game}' is called its headline")
        return self

    @property
    def worst_run(self) -> int:
        """The run of which the largest share was copied."""
        shares = [copied / max(1, rows) for copied, rows in zip(self.exact_members, self.n_member_rows, strict=True)]
        return shares.index(max(shares))


Mechanism = Literal["gaussian", "sampled-gaussian", "laplace"]

Epsilon = float | Literal["inf"]

UNIT = "one row of the train split"

RELATION = "add or remove one"


class PrivateQuery(Frozen):
    """One mechanism as it was used: what it released is a noisy sum over rows."""

    name: str
    """What for, such as `votes`."""
    mechanism: Mechanism
    sensitivity: float = Field(gt=0)
    """Most that one row can change the sum: L2 norm for Gaussian noise, L1 norm for Laplace noise."""
    noise_multiplier: float = Field(ge=0)
    """Standard deviation (Gaussian) or scale (Laplace) of the noise in units of the sensitivity; 0 without a promise."""
    rate: float = Field(default=1.0, gt=0, le=1)
    """Probability with which every row takes part in a step (Poisson sampling); 1 for all rows."""
    steps: int = Field(ge=0)
    """How often it was answered."""


class PublicResource(Frozen):
    """Something that a private method used besides the private rows."""

    name: str
    sha256: str
    overlap: str
    """What it may share with the private rows."""


class PrivacyStatement(Frozen):
    """One set's promise: (epsilon, delta) differential privacy of everything that the method released."""

    epsilon: Epsilon
    """The budget that was asked for, where what was spent is within it; else what was spent. `inf` is no promise."""
    delta: float = Field(gt=0, lt=1)
    epsilon_spent: float | None = None
    """Of the queries as they were answered, by the first accountant; null without a promise."""
    epsilon_check: float | None = None
    """The same by the second accountant, which knows Gaussian noise only; null where it does not apply."""
    epsilon_of_sets: dict[int, float] = Field(default_factory=dict)
    """Number of sets made from the same rows and all released -> epsilon of them together, at the same delta."""
    unit: str = UNIT
    relation: str = RELATION
    group: int = Field(default=1, ge=1)
    """The promise covers so many rows together (those of one person, say)."""
    n_rows: int = Field(ge=1)
    """Number of private rows, declared public."""
    accountants: tuple[str, ...] = ()
    oracle: Literal["data", "noise-only"] = "data"
    """`noise-only`: every answer was the noise alone, a control that has read no row."""
    queries: tuple[PrivateQuery, ...] = ()
    raw_reads: tuple[str, ...] = ()
    """Reasons of reads outside of any mechanism: one voids the promise."""
    public: tuple[PublicResource, ...] = ()
    released: tuple[str, ...] = ()
    """Everything that leaves the method's hands."""
    noise: str
    """Where the noise came from."""

    @model_validator(mode="after")
    def _no_promise_without_grounds(self) -> PrivacyStatement:
        if self.epsilon == "inf":
            if self.epsilon_spent is not None or self.epsilon_of_sets:
                raise ValueError("epsilon is infinite, so nothing finite can have been spent")
            return self
        if self.raw_reads:
            raise ValueError("rows were read outside of any mechanism: epsilon can only be 'inf'")
        if self.epsilon_spent is None or self.epsilon_spent > self.epsilon:
            raise ValueError(f"epsilon {self.epsilon} is promised and {self.epsilon_spent} was spent")
        return self


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


Role = Literal["", "random", "kmeans", "soft-labels", "vectors", "full", "majority"]
"""Reference role of a method: `random` for random rows (also the reference of the text track and the control of submissions), `kmeans`
for medoids, `soft-labels` and `vectors` for the references of the tracks text+soft and learner-bound, `full` for training on all real
data, `majority` for the most frequent class; empty for methods that nobody is compared with."""


class MethodFacts(Frozen):
    """The part of a method's card that rankings need."""

    label: str
    """Name shown in tables: the preset's, or the method's."""
    family: str
    cost_class: CostClass
    deterministic: bool = False
    reference: bool = False
    role: Role = ""
    """What other rows are compared with it for."""
    private: bool = False
    full_data: bool = False
    """True for training on all real data: never ranked, drawn as a line."""
    external: bool = False
    """True for a set read from a file: never ranked."""
    seeds_per_set: int | None = None
    """Trainings of every set that a complete row has; null for as many as the protocol asks for."""
    tags: tuple[str, ...] = ()
    """Facts for which someone would reasonably exclude the method."""


class SetCounts(Frozen):
    """Distilled sets by a method's cost class."""

    seconds: PositiveInt
    minutes: PositiveInt
    hours: PositiveInt


class DeterministicCounts(Frozen):
    """Replication of methods whose set does not depend on the seed."""

    sets: Literal[1]
    seeds: PositiveInt


class FullCounts(BaseModel):
    """Replication of the full-data reference."""

    seeds: PositiveInt


class ProtocolFacts(BaseModel):
    """The part of a protocol that decides how often a method is run and which rows are complete."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    source: str
    """The learner that methods may distil with."""
    learners: tuple[str, ...]
    sets: SetCounts
    seeds_per_set: PositiveInt
    deterministic: DeterministicCounts
    full: FullCounts | None = None
    real_per_class: int = Field(default=0, ge=0)
    """Random real texts of every class that learners train on beside the distilled set: a mixture. Its rows have a track of their own."""

    def replication(self, facts: MethodFacts) -> tuple[int, int]:
        """Returns the numbers of distilled sets and of trainings of each set."""
        if facts.full_data:
            return 1, self.full.seeds if self.full else 1
        if facts.deterministic:
            return self.deterministic.sets, self.deterministic.seeds
        return getattr(self.sets, facts.cost_class), max(facts.seeds_per_set or 0, self.seeds_per_set)

    def seeds_of_method(self, cost_class: CostClass, seeds: int | None) -> int | None:
        """Returns the trainings of a set that a method asks for, or None where the protocol is a preview with one set a method."""
        return seeds if getattr(self.sets, cost_class) > 1 else None


class TextQuality(Frozen):
    """What the harness measured about a set's texts after the method had ended; docs/reference/text-quality.md says what each number is."""

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
