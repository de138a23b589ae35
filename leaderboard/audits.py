"""Joins membership-inference audits with the rows of the methods that they are about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from tdbench.bench.record import AttackResult, AuditResult, Cell, Record
from tdbench.leaderboard.runs import Scope, options_text
from tdbench.leaderboard.stats import holm

NULL_LEVEL = 0.05


@dataclass(frozen=True)
class Audit:
    """A finished audit.

    Attributes:
        audit_id: Its stage id.
        result: What it found.
        learner: The target model of game T2.
        invalid: Games in which its null run leaks, Holm-adjusted over all audits of the protocol, task and budget: an attack that finds
            members where there are none is not to be believed.
    """

    audit_id: str
    result: AuditResult
    learner: str | None
    invalid: frozenset[str]

    @property
    def worst_copies(self) -> tuple[int, int, int]:
        """Copied texts, texts of the set and members of the run with the largest share of copies."""
        worst, result = self.result.worst_run, self.result
        return result.exact_members[worst], result.n_released[worst], result.n_member_rows[worst]

    def headline(self, game: Literal["text", "model"]) -> AttackResult | None:
        """Returns the attack that was named beforehand."""
        return next((attack for attack in self.result.attacks if attack.headline and attack.game == game), None)


class Audits:
    """Audits by what they are about; custom ones are left out.

    Args:
        records: Records of all stages.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        kept: dict[tuple[Any, ...], Record] = {}
        for record in sorted(records, key=lambda one: one.created):
            if record.stage == "audit" and record.status == "ok" and record.audit is not None and not record.custom:
                key = _key(record.cell, str((record.protocol or {}).get("name")))
                if key not in kept or _precedence(record) >= _precedence(kept[key]):
                    kept[key] = record
        invalid = _invalid_games(kept.values())
        self._by_key = {
            key: Audit(
                record.id, record.audit, record.learner, frozenset(game for one, game in invalid if one == record.id)
            )
            for key, record in kept.items()
            if record.audit is not None
        }

    def of(self, cell: Cell | None, scope: Scope) -> Audit | None:
        """Returns the audit of a method as a cell names it, or None; rows of a custom protocol have none."""
        return None if cell is None or scope.custom_id else self._by_key.get(_key(cell, scope.protocol))


def _key(cell: Cell, protocol: str) -> tuple[Any, ...]:
    """Names what an audit is about: the same in a cell whatever its set index."""
    about = cell.model_dump(mode="json", exclude={"set_index"})
    return protocol, options_text(about)


def _precedence(record: Record) -> tuple[int, int]:
    """Of two audits the one by the newer code counts, then the one of more games; then the later."""
    assert record.audit is not None
    return record.audit.audit_version, len(record.audit.games)


def _invalid_games(records: Iterable[Record]) -> set[tuple[str, str]]:
    """Returns the audits, by id, and their games with a null run that leaks."""
    families: defaultdict[tuple[str, ...], list[tuple[tuple[str, str], float]]] = defaultdict(list)
    for record in records:
        assert record.audit is not None
        cell = record.cell
        family = (
            str((record.protocol or {}).get("name")),
            cell.data_kind,
            cell.task,
            options_text(cell.task_options),
            cell.budget,
        )
        for attack in record.audit.attacks:
            if attack.headline and attack.null_p is not None:
                families[family].append(((record.id, attack.game), attack.null_p))
    return {
        about
        for family in families.values()
        for (about, _), p in zip(family, holm([p for _, p in family]), strict=True)
        if p < NULL_LEVEL
    }


def set_curves(records: Iterable[Record]) -> dict[str, tuple[float, ...]]:
    """Returns audit id -> true-positive rates, at ROC_FPR, of the headline attack on the set."""
    return {
        record.id: attack.roc_tpr
        for record in records
        if record.audit is not None
        for attack in record.audit.attacks
        if attack.headline and attack.game == "text" and attack.roc_tpr
    }
