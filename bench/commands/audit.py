"""What an audit found, in words; and `tdbench audit`, for a set that was made anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.experiment.audit_record import AttackResult, AuditResult

if TYPE_CHECKING:
    from bench.experiment.packs import Accepted
    from bench.experiment.plan import Plan
    from bench.experiment.store import Store

_GAMES = {"text": "sees the set", "model": "sees the model"}


def print_audits(plan: Plan, store: Store, accepted: Accepted | None) -> None:
    """Prints what the audits of a plan found."""
    for job in plan.audits:
        record = store.get(job.stage, job.id) or (None if accepted is None else accepted.get(job.id))
        if record is not None and record.audit is not None:
            print("\n".join(audit_lines(job.title, record.audit)))  # noqa: T201


def audit_lines(title: str, found: AuditResult) -> list[str]:
    """Writes what an audit found: copies first, then each attack, headline first, then what guesses prove."""
    worst = max(range(len(found.n_members)), key=lambda run: found.exact_members[run] / max(1, found.n_members[run]))
    runs = f"{len(found.n_members)} run" + ("s" if len(found.n_members) > 1 else "")
    lines = [
        f"{title}: {runs}, {found.n_members[worst]:,} members and {found.n_non_members[worst]:,} non-members",
        f"  copied word for word: {found.exact_members[worst]} of {found.n_members[worst]:,} members"
        f" ({found.exact_non_members[worst]} non-members), in a set of {found.n_released[worst]}",
    ]
    for game, what in _GAMES.items():
        attacks = sorted((one for one in found.attacks if one.game == game), key=lambda one: not one.headline)
        lines += [f"  {what:15}{_attack(one)}" for one in attacks]
    for test in found.coin_tests:
        lines.append(
            f"  guesses ({test.test}, {_GAMES[test.game]}): {test.right} of {test.guesses} right (p {test.p_value:.2g}),"
            f" epsilon at least {test.epsilon_lower:.2f}"
        )
    if found.epsilon_claim is not None:
        refuted = found.epsilon_lower > float(found.epsilon_claim)
        lines.append(f"  promised epsilon {found.epsilon_claim}: {'REFUTED' if refuted else 'not refuted'}")
    return lines + [f"  note: {note}" for note in found.notes]


def _attack(one: AttackResult) -> str:
    name = f"{one.name} (headline)" if one.headline else one.name
    text = f"{name:28}AUC {one.auc:.3f} [{one.auc_low:.3f}, {one.auc_high:.3f}]"
    if one.auc_low <= 0.5 <= one.auc_high:
        text += f", would have found {one.detectable_auc:.3f}"
    if one.tpr_at_1pct is not None:
        text += f", {one.tpr_at_1pct:.1%} of members at 1 % false positives"
    return text if one.null_auc is None else f"{text}; null run {one.null_auc:.3f}"
