"""Whether a row may be ranked, and if not, why."""

from __future__ import annotations

from tdbench.leaderboard.runs import Group
from tdbench.leaderboard.schema import ALL_BUDGET, StandingFields


def standing_fields(group: Group) -> StandingFields:
    """Returns what a group's runs say about its standing."""
    hole = _hole(group)
    reason = _unranked_reason(group, hole)
    return {
        "complete": not hole,
        "n_failed": group.n_failed,
        "ranked": not reason,
        "unranked_reason": reason,
        "superseded": bool(group.stale),
        "custom": bool(group.key.scope.custom_id),
        "custom_id": group.key.scope.custom_id,
    }


def fewest_seeds(group: Group) -> int:
    """Returns the seeds of the set that has the fewest."""
    return min((len(seeds) for seeds in group.runs.values()), default=0)


def _hole(group: Group) -> str:
    """Says what is missing of the sets and seeds that the protocol asks for; empty when nothing is."""
    need_sets, need_seeds = group.protocol.needs(group.facts)
    sets, n_seeds = sorted(group.runs), fewest_seeds(group)
    if group.n_failed:
        return f"{group.n_failed} failed run{'s' if group.n_failed > 1 else ''}"
    if sets != list(range(len(sets))):
        return f"set indices have a gap: {', '.join(map(str, sets))}"
    if len(sets) < need_sets:
        return f"{len(sets)} of {need_sets} sets"
    if n_seeds < need_seeds:
        return f"{n_seeds} of {need_seeds} seeds"
    if any(sorted(seeds) != list(range(len(seeds))) for seeds in group.runs.values()):
        return "seed indices have a gap"
    return ""


def _unranked_reason(group: Group, hole: str) -> str:
    """Says in plain words why a row is not ranked; empty when it is."""
    key = group.key
    checks = (
        (bool(group.stale), group.stale),
        (_copies_test(group), "its texts repeat test texts"),
        (group.facts.external, "external: made outside the suite, so its cost and how it was chosen are unknown"),
        (group.facts.full_data, "reference line: trained on all real data"),
        (key.budget == ALL_BUDGET, "reference line: ignores the budget"),
        (bool(key.scope.custom_id), "custom protocol settings"),
        (group.learner not in group.protocol.learners, f"learner is not part of {group.protocol.name}"),
        (group.orphan, "the record of its distilled set is missing"),
        (bool(hole), hole),
        (
            group.protocol.needs(group.facts) == (1, 1),
            f"{key.scope.protocol} makes one set: a first look, not a result",
        ),
    )
    return next((reason for applies, reason in checks if applies), "")


def _copies_test(group: Group) -> bool:
    """Tells whether new text repeats the test split. Rows of the train split may: official data sets hold such twins."""
    return any(
        r.distil is not None and r.distil.output == "text" and r.distil.n_test_exact for r in group.distils.values()
    )
