"""What a plan would ask of language models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tdbench.bench.card import Estimate
from tdbench.bench.data.text import LabelledText
from tdbench.bench.models.llm.names import ModelName
from tdbench.bench.models.llm.spending import dollars

if TYPE_CHECKING:
    from tdbench.bench.experiment.jobs import DistilJob
    from tdbench.bench.experiment.plan import Plan
    from tdbench.bench.settings import LLMSettings


def asks_servers(plan: Plan) -> bool:
    """Tells whether a plan has methods that ask language models behind servers."""
    return any(ModelName.parse(name).paid for job, _ in plan.cells for name in job.method.llms)


def estimate(plan: Plan, states: list[dict[str, Any]]) -> dict[str, Estimate]:
    """Guesses what the sets that are still to be made take, by model; replies that are kept from before are not looked up.

    Args:
        plan: The plan.
        states: What is to run, as `Runner.states` says.
    """
    to_run = {state["id"] for state in states if state["state"] == "to run"}
    jobs = [job for job, _ in plan.cells if job.id in to_run]
    jobs += [shadow.distil for audit in plan.audits for shadow in audit.shadows if shadow.distil.id in to_run]
    made: dict[str, Estimate] = {}
    for job in jobs:
        names = [name.shown for name in map(ModelName.parse, job.method.llms) if name.paid]
        if not names:
            continue
        rows = job.data.train
        if job.method.card.private:  # such a method never sees a row
            rows = _public_rows(job)
        one, key = job.method.estimate(rows, job.budget), " and ".join(names)
        if one is None:
            continue
        known = made.get(key, Estimate(0, 0, 0))
        made[key] = Estimate(
            known.calls + one.calls, known.tokens_in + one.tokens_in, known.tokens_out + one.tokens_out
        )
    return made


def _public_rows(job: DistilJob) -> LabelledText:
    """Returns public texts in the shape of a task's rows."""
    like = job.data.train
    if job.public is None:
        return LabelledText({name: [] for name in like.fields}, like.labels_N[:0], like.label_names, like.row_ids_N[:0])
    texts = job.public.rows(tuple(like.fields), np.arange(min(100, len(job.public.texts))))
    return LabelledText(texts.fields, texts.labels_N, like.label_names, texts.row_ids_N)


def estimate_lines(plan: Plan, states: list[dict[str, Any]], limits: LLMSettings) -> list[str]:
    """Says in words what a plan would ask of language models behind servers, and whether the limits suffice."""
    lines, calls, usd = [], 0, 0.0
    for name, one in estimate(plan, states).items():
        price = dollars(one.tokens_in, one.tokens_out, limits)
        calls, usd = calls + one.calls, usd + (price or 0.0)
        money = (
            "price not known (runtime.llm.price_in, price_out)" if price is None else f"about {price:.2f} US dollars"
        )
        lines.append(
            f"{name}: about {one.calls:,} calls, {one.tokens_in:,} tokens in, {one.tokens_out:,} out, {money}; kept replies cost nothing."
        )
    for what, limit, needed in (("max_calls", limits.max_calls, calls), ("max_usd", limits.max_usd, usd)):
        if limit is not None and needed > limit:
            lines.append(f"That is more than runtime.llm.{what}={limit}: the command would stop there.")
    return lines
