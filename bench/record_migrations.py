"""Migrations of records: those of older schemas become the current one."""

from __future__ import annotations

from typing import Any

from tdbench.bench.errors import RecordError

SCHEMA_VERSION = 11
"""Raised with every change of a record's fields; `migrate` must then lead older files to it."""

_QUALITY_BEFORE_9 = (
    *("distinct_1", "distinct_2", "mean_words", "empty_frac", "repetitive_frac"),
    *("judge_perplexity", "judge_perplexity_real"),
)

_TAGS_BEFORE_10 = {
    **dict.fromkeys(
        ("dp_diffuseq", "dp_genie", "dp_gradmm", "dp_lm", "dp_mdlm", "dp_mean_match", "dp_pe"), ("public-pool",)
    ),
    "dp_seqdiffuseq": ("public-pool",),
    "dp_lm_lora": ("pretrained-generator",),
    **dict.fromkeys(("bare", "fewshot", "synalign", "synthllm"), ("real-texts-in-prompts",)),
}
"""Tags that methods' cards had when records did not hold them."""

_ROLES_BEFORE_11 = {
    **{name: name for name in ("random", "kmeans", "full", "majority")},
    "teacher-labels": "soft-labels",
    "class-mean": "vectors",
}
"""Roles of methods when records did not hold them."""


def migrate(raw: dict[str, Any]) -> dict[str, Any]:
    """Leads a record of an older schema to the current one.

    Raises:
        RecordError: The schema version is unknown or newer than this suite.
    """
    version = raw.get("schema_version")
    if version in range(1, SCHEMA_VERSION):
        # Versions added fields, all with a default that is true of older records; 9 moved numbers, 10 and 11 copied facts from cards.
        return {**_with_card_facts(_with_quality(raw)), "schema_version": SCHEMA_VERSION}
    if version != SCHEMA_VERSION:
        raise RecordError(
            f"record schema version is {version!r}, expected {SCHEMA_VERSION}; "
            "a newer suite wrote it: update with `git pull && make setup`."
        )
    return raw


def _with_quality(raw: dict[str, Any]) -> dict[str, Any]:
    """Moves the harness's numbers out of the method's own."""
    distil = raw.get("distil")
    if not isinstance(distil, dict) or not isinstance(distil.get("diagnostics"), dict):
        return raw
    diagnostics = distil["diagnostics"]
    values = {name: diagnostics[name] for name in _QUALITY_BEFORE_9 if name in diagnostics}
    if not values:
        return raw
    rest = {name: value for name, value in diagnostics.items() if name not in values}
    quality = {"version": 0, "encoder": None, "values": values}
    return {**raw, "distil": {**distil, "diagnostics": rest, "quality": quality}}


def _with_card_facts(raw: dict[str, Any]) -> dict[str, Any]:
    """Writes tags and role of the method's card into a record from before they were there."""
    cell, facts = raw.get("cell"), raw.get("method_facts")
    if not isinstance(cell, dict) or not isinstance(facts, dict):
        return raw
    method = str(cell.get("method"))
    known = {"tags": list(_TAGS_BEFORE_10.get(method, ())), "role": _ROLES_BEFORE_11.get(method, "")}
    return {**raw, "method_facts": {**known, **facts}}
