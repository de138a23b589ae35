"""The JSON Schema of `leaderboard.json`, from the fields of a row and what is said about them."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import ConfigDict, TypeAdapter, with_config
from typing_extensions import TypedDict

from tdbench.leaderboard.fields import FIELDS
from tdbench.leaderboard.rankings import Ranking
from tdbench.leaderboard.reported import Reported
from tdbench.leaderboard.schema import BOARD_SCHEMA_VERSION, Texts

DECIMALS = 6


class RankJson(TypedDict):
    """A rank with its confidence interval."""

    rank: int
    """1 is the best score; equal scores share the better rank."""
    low: int
    high: int


class MeanRankJson(TypedDict):
    """One method over all tasks of a ranking."""

    label: str
    """Name shown in tables: the preset's, or the method's."""
    mean_rank: float
    low: float
    high: float
    ranks: list[RankJson]
    """In the order of the ranking's tasks."""


class RankingJson(TypedDict):
    """Methods of one pool that were measured on all tasks, best first."""

    protocol: str
    """Name of the protocol."""
    budget: str
    """Texts a class as `dpcN`, or `all` for methods that ignore the budget."""
    track: str
    """`text`, `text+soft` or `learner-bound`; `+real` behind it for mixtures with real texts."""
    learner: str
    """`source` or `transfer`."""
    pool: str
    tasks: list[str]
    critical_difference: float | None
    """Nemenyi's, of mean ranks; null with fewer than eight tasks."""
    friedman_p: float | None
    """Of Friedman's test that all are equally good; null with fewer than eight tasks."""
    mean_ranks: list[MeanRankJson]
    unranked: dict[str, dict[str, str]]
    """Methods without a mean rank -> task that they lack -> why."""


def ranking_json(ranking: Ranking) -> RankingJson:
    """Writes a ranking for JSON."""
    return {
        "protocol": ranking.protocol,
        "budget": ranking.budget,
        "track": ranking.track,
        "learner": ranking.learner,
        "pool": ranking.pool.name,
        "tasks": list(ranking.tasks),
        "critical_difference": ranking.critical,
        "friedman_p": ranking.friedman,
        "mean_ranks": [
            {
                "label": one.label,
                "mean_rank": round(one.mean, DECIMALS),
                "low": round(one.low, DECIMALS),
                "high": round(one.high, DECIMALS),
                "ranks": [{"rank": p.rank, "low": p.low, "high": p.high} for p in one.ranks],
            }
            for one in ranking.mean_ranks
        ],
        "unranked": {method.label: dict(method.missing) for method in ranking.unranked},
    }


@cache
def board_schema() -> dict[str, Any]:
    """Returns the schema (draft 2020-12) that every `leaderboard.json` of this version follows."""
    properties: dict[str, Any] = {}
    for field in FIELDS:
        kind = TypeAdapter(list[str] if field.type is Texts else field.type).json_schema()
        if field.infinite:
            kind["anyOf"].append({"const": "inf"})
        unit = {"unit": field.unit} if field.unit else {}
        properties[field.name] = {**kind, "description": field.description, **unit}
    ranking = _described(RankingJson)
    definitions, figure = ranking.pop("$defs"), Reported.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "TDBench leaderboard",
        "description": "Rows: one method under one protocol, seen by one learner. Null means unknown.",
        "type": "object",
        "additionalProperties": False,
        "required": ["schema_version", "built_from", "rows", "rankings", "reported"],
        "properties": {
            "schema_version": {"const": BOARD_SCHEMA_VERSION},
            "built_from": {"type": "array", "items": {"type": "string"}},
            "rows": {"type": "array", "items": {"$ref": "#/$defs/Row"}},
            "rankings": {"type": "array", "items": ranking},
            "reported": {
                "type": "array",
                "items": figure,
                "description": "Published figures, made under other protocols.",
            },
        },
        "$defs": {
            "Row": {
                "type": "object",
                "additionalProperties": False,
                "required": list(properties),
                "properties": properties,
            },
            **definitions,
        },
    }


def _described(fields: Any) -> dict[str, Any]:
    """Returns the schema of one group of fields with the texts that stand below them."""
    return TypeAdapter(with_config(ConfigDict(use_attribute_docstrings=True))(fields)).json_schema()
