"""What a membership-inference audit leaves behind."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Game = Literal["text", "model"]
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
    auc: float
    auc_low: float
    auc_high: float
    """95 % interval, over records and pairs of runs."""
    se: float
    detectable_auc: float | None
    """Smallest AUC that a one-sided 5 % test finds with probability 0.8 at this standard error; null for an attack that never varies."""
    run_aucs: tuple[float, ...]
    tpr_at_1pct: float | None = None
    """True-positive rate at a false-positive rate of 1 %; null with fewer than 1,000 non-members."""
    tpr_low: float | None = None
    tpr_high: float | None = None
    """Clopper-Pearson, for the members of one run; the threshold's own chance is not in it."""
    roc_tpr: tuple[float, ...] = ()
    """True-positive rates at false-positive rates of 0.001 to 1, ten a decade."""
    null_auc: float | None = None
    """The same attack on a set that was made from auxiliary rows: chance, or the audit is wrong."""
    null_low: float | None = None
    null_high: float | None = None
    null_p: float | None = None
    """Two-sided, of 0.5."""


class CoinTest(Frozen):
    """A test that needs no shadow runs: memberships, fair coins each, are guessed from the released sets, and right guesses counted."""

    test: Literal["phantom", "ranking"]
    """`phantom`: candidates of which a set repeats a rare 8-gram, or everything, are guessed to be members (Amin et al., 2026). `ranking`:
    the headline's highest are, and its lowest are guessed not to be (Steinke et al., 2023)."""
    game: Game
    coins: int
    guesses: int
    right: int
    p_value: float
    """Chance of so many right guesses, had the sets nothing to do with the candidates."""
    epsilon_lower: float
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
    n_members: tuple[int, ...]
    """Member groups, by run."""
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
