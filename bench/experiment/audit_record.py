"""What a membership-inference audit leaves behind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

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
