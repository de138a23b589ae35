"""Typed form of a composed configuration. Values are checked here; names were checked by Hydra."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from tdbench.bench.canonical import canonical_json, sha256_text
from tdbench.bench.errors import UsageError, redacted
from tdbench.bench.record import FullCounts, ProtocolFacts

T = TypeVar("T", bound=BaseModel)


class CheckedSettings(BaseModel):
    """Base of settings: frozen, and nothing unknown or infinite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _shown(place: str, value: Any) -> str:
    return "an address" if "url" in place.split(".") else redacted(repr(value))  # addresses may hold keys


def check_values(model: type[T], values: dict[str, Any], where: str = "") -> T:
    """Builds a settings model.

    Args:
        model: The model class.
        values: Raw values.
        where: Prefix of option names in messages, such as `method.`.

    Raises:
        UsageError: Names the option, what it got and what was expected.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = []
        for item in error.errors():
            place = where + ".".join(str(part) for part in item["loc"])
            if item["type"] == "tuple_type":
                item["msg"] = f"expected a list in brackets: {place}=[A,B]"
            problems.append(
                f"{place or where.rstrip('.') or 'configuration'}: got {_shown(place, item.get('input'))}; {item['msg']}"
            )
        raise UsageError(". ".join(problems) + ".") from None


class BudgetSettings(CheckedSettings):
    """The `budget` group."""

    per_class: PositiveInt | None
    tokens_per_class: PositiveInt | None

    @model_validator(mode="after")
    def _some_limit(self) -> BudgetSettings:
        if self.per_class is None and self.tokens_per_class is None:
            raise ValueError("give per_class, tokens_per_class, or both")
        return self

    @property
    def name(self) -> str:
        """Name in tables; it follows from the numbers, so an overridden budget cannot pass for another."""
        parts = (("dpc", self.per_class), ("tok", self.tokens_per_class))
        return "-".join(f"{prefix}{number}" for prefix, number in parts if number is not None)


class LockedSettings(CheckedSettings):
    """Settings that are published under a name and never change.

    An option that was added later has a default, which is what was done before it. It is left out of content and hash where it has that
    value, so that hashes of what was published before stay.
    """

    @property
    def content(self) -> dict[str, Any]:
        """What records keep and the hash covers."""
        later = {
            name: field.get_default() for name, field in type(self).model_fields.items() if not field.is_required()
        }
        unused = {name for name, default in later.items() if getattr(self, name) == default}
        return self.model_dump(mode="json", exclude=unused)

    @property
    def sha256(self) -> str:
        """Hash that locks the content."""
        return sha256_text(canonical_json(self.content))


class FullRecipe(CheckedSettings, FullCounts):
    """Training length of the full-data reference: steps or epochs."""

    model_config = CheckedSettings.model_config

    steps: PositiveInt | None = None
    epochs: PositiveInt | None = None

    @model_validator(mode="after")
    def _one_length(self) -> FullRecipe:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs")
        return self


class Protocol(LockedSettings, ProtocolFacts):
    """The `protocol` group: everything that decides how a distilled set is scored."""

    model_config = CheckedSettings.model_config

    max_length: PositiveInt
    max_length_of: dict[str, PositiveInt] = {}
    """Task -> maximum length where it differs."""
    steps: PositiveInt
    batch_size: PositiveInt
    weight_decay: float = Field(ge=0)
    clip_norm: PositiveFloat
    warmup_frac: float = Field(ge=0, lt=1)
    lr: dict[str, PositiveFloat]
    default_lr: PositiveFloat
    """Rate of learners that `lr` does not name."""
    full: FullRecipe | None  # type: ignore[assignment]
    """Null: the protocol trains no full-data reference."""
    test_rows: PositiveInt | None
    """Size of the fixed test draw; null reads all rows."""

    def length_for(self, task: str) -> int:
        """Returns the maximum length in tokens for a task."""
        return self.max_length_of.get(task, self.max_length)


class Suite(CheckedSettings):
    """The `suite` group: what runs when no method or budget is named."""

    name: str
    methods: tuple[str, ...]
    budgets: tuple[str, ...]


class LLMSettings(CheckedSettings):
    """The `runtime.llm` keys: where language models are served, and how much may be asked of them."""

    url: tuple[str, ...] = ()
    """Servers that speak the OpenAI protocol, such as http://localhost:11434/v1; of several, the first that has the model. None: what the
    official client is set to by OPENAI_BASE_URL, else OpenAI's own."""
    parallel: PositiveInt = 8
    """Calls at a time."""
    timeout_s: PositiveFloat = 120.0
    """Seconds that a call may take."""
    retries: int = Field(default=6, ge=0)
    """Further tries after a refusal for being too many, an error of the server, or no answer; none after a refusal of the key."""
    max_calls: PositiveInt | None = None
    """Calls that this command may make; null for any number."""
    max_usd: PositiveFloat | None = None
    """US dollars that they may cost; needs prices."""
    price_in: float | None = Field(default=None, ge=0)
    """US dollars for a million tokens of what is asked."""
    price_out: float | None = Field(default=None, ge=0)
    """The same for replies."""

    @field_validator("url", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("url")
    @classmethod
    def _plain_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("expected an address such as http://localhost:11434/v1")
            if parts.username or parts.password or parts.query or parts.fragment:
                raise ValueError("an address must hold no key; put it into the environment as TDBENCH_LLM_KEY")
        return tuple(url.rstrip("/") for url in value)

    @model_validator(mode="after")
    def _limit_has_prices(self) -> LLMSettings:
        if self.max_usd is not None and None in (self.price_in, self.price_out):
            raise ValueError("max_usd needs price_in and price_out, US dollars for a million tokens")
        return self


class Runtime(CheckedSettings):
    """The `runtime` group: where and how, never what. Nothing here is part of an identity."""

    root: Path
    board: Path | None
    device: str
    shard: str
    retry: bool
    force: bool
    accepted: bool
    max_failures: PositiveInt | None
    llm: LLMSettings = LLMSettings()

    @field_validator("root")
    @classmethod
    def _root_is_named(cls, value: Path) -> Path:
        if not value.name:
            raise ValueError("expected a folder, such as runs")
        return value

    @field_validator("device")
    @classmethod
    def _device_is_known(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", value):
            raise ValueError("expected 'auto', 'cpu', 'cuda' or 'cuda:<number>'")
        return value

    @field_validator("shard")
    @classmethod
    def _shard_in_range(cls, value: str) -> str:
        index, _, count = value.partition("/")
        if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
            raise ValueError("expected k/n with k from 1 to n, such as 1/4")
        return value

    @property
    def shard_of(self) -> tuple[int, int]:
        """Slice and number of slices, from 1."""
        index, count = self.shard.split("/")
        return int(index), int(count)


class Data(CheckedSettings):
    """The `data` keys."""

    kind: Literal["auto", "local", "hub", "standin"]
    root: Path | None


class AuditRuns(CheckedSettings):
    """Distillations of an audit by a method's cost class: complementary pairs, or a single run."""

    seconds: PositiveInt
    minutes: PositiveInt
    hours: PositiveInt

    @field_validator("seconds", "minutes", "hours")
    @classmethod
    def _in_pairs(cls, value: int) -> int:
        if value != 1 and value % 2:
            raise ValueError("expected 1, or an even number: runs come in complementary pairs")
        return value


class Audit(LockedSettings):
    """The `audit` group."""

    name: str
    games: tuple[Literal["text", "model"], ...]
    """What the attacker sees: the released texts, the trained model's scores, or both in turn."""
    pool_rows: PositiveInt
    """Candidates; half of them are members in each run."""
    auxiliary_rows: PositiveInt
    """The attacker's own rows."""
    runs: AuditRuns


class RunSettings(CheckedSettings):
    """One composed configuration: one task, one method, one budget."""

    task_name: str
    task_options: dict[str, Any]
    method_name: str
    method_label: str
    """The preset's name, or the method's."""
    method_options: dict[str, Any]
    budget: BudgetSettings
    protocol: Protocol
    suite: Suite
    audit: Audit
    runtime: Runtime
    data: Data
    learners: tuple[str, ...] | None
    """Names, in brackets on the command line: learners=[minilm,textcnn]."""
    sets: PositiveInt | None
    seeds: PositiveInt | None
