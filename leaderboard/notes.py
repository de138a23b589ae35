"""The remarks above a table."""

from __future__ import annotations

from collections.abc import Iterator

from tdbench.leaderboard.schema import ALL_BUDGET, MIXED, UNSEEN_MEAN, Row

MIXED_NOTE = (
    "MIXTURE: learners train on the distilled set and on random real texts of every class, the same for all methods, so differences to "
    "random compare distilled texts with as many more real ones. Budgets, sizes, costs and promises are the set's alone."
)
CPU_NOTE = "CPU run: no pretrained transfer learner."
KIND_NOTES = {
    "real-subset": "{task} is a SUBSET of the official train set: not comparable with published figures.",
    "standin": "STAND-IN corpus: synthetic text, not comparable with real data.",
}


def table_notes(rows: list[Row], custom: bool) -> Iterator[str]:
    """Writes what readers must know about a table.

    Args:
        rows: All its rows.
        custom: Whether its protocol was changed.
    """
    if custom:
        yield "Custom protocol settings: no row of this table is ranked."
    if rows[0]["metric"] != "accuracy_frac":
        yield "Scores are macro-F1, the mean over classes, because accuracy hides the rare class; accuracy has a column of its own."
    for learner, why in sorted({(row["learner"], row["contamination"]) for row in rows if row["contamination"]}):
        if learner != UNSEEN_MEAN:
            yield f"{learner} is CONTAMINATED: {why}."
    chosen: dict[str, set[str]] = {}
    for row in rows:
        if row["distil_contamination"]:
            chosen.setdefault(row["distil_contamination"], set()).add(row["label"])
    for why, labels in sorted(chosen.items()):
        yield f"Made with CONTAMINATED features ({', '.join(sorted(labels))}): {why}."
    yield from _about_comparisons(rows)
    devices = {device for row in rows for device in row["device"].split(", ") if device}
    if devices == {"cpu"}:
        yield CPU_NOTE
    if rows[0]["track"].endswith(MIXED):
        yield MIXED_NOTE
    if rows[0]["track"] == "learner-bound":
        yield "n/a: token vectors mean nothing to a learner with another token table."
    # What is said of majority and full is said by their rows.
    noted = [row for row in rows if row["notes"] and row["budget"] != ALL_BUDGET and row["learner"] != UNSEEN_MEAN]
    for learner in sorted({row["learner"] for row in noted}):
        remarks = sorted({row["notes"] for row in noted if row["learner"] == learner})
        yield f"{learner}: {'; '.join(remarks)}"


def _about_comparisons(rows: list[Row]) -> Iterator[str]:
    lacking = sorted({one for row in rows for one in row["incomplete_references"].split(", ") if one})
    if lacking:
        yield f"Differences rest on references that lack sets: {', '.join(lacking)}."
    unseen = sorted({row["unseen_learners"] for row in rows if row["unseen_learners"]})
    if unseen:
        yield f"The unseen mean is over {'; or '.join(unseen)}."
