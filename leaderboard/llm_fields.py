"""The fields of a row that say what language models were asked for."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean

from typing_extensions import TypedDict

from tdbench.bench.record import LLMCost, Record


class LLMFields(TypedDict):
    """Calls of language models for one set, as if every reply had been asked for anew; means over sets."""

    llm: str
    """Names of the models, joined by `, `; empty where none was asked."""
    llm_calls: float | None
    """Calls of language models for one set."""
    llm_tokens_in: float | None
    """Tokens asked for one set."""
    llm_tokens_out: float | None
    """Tokens replied for one set."""
    llm_usd: float | None
    """US dollars; null where a price was not given."""


def llm_fields(records: Iterable[Record]) -> LLMFields:
    """Adds up the calls of every set and averages them; what one call does not know, the mean does not."""
    of_sets = [[phase.llm for phase in record.cost if phase.llm is not None] for record in records]
    models = sorted({model for calls in of_sets for call in calls for model in call.models})
    return {
        "llm": ", ".join(models),
        "llm_calls": _mean(of_sets, "calls"),
        "llm_tokens_in": _mean(of_sets, "tokens_in"),
        "llm_tokens_out": _mean(of_sets, "tokens_out"),
        "llm_usd": _mean(of_sets, "usd"),
    }


def _mean(of_sets: list[list[LLMCost]], name: str) -> float | None:
    values = [[getattr(call, name) for call in calls] for calls in of_sets]
    if not any(values) or any(None in own for own in values):
        return None
    return fmean(sum(own) for own in values)
