"""Runs one stage and describes it as a record. No stage knows about stores, locks or other stages."""

from __future__ import annotations

import contextlib
import shutil
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tdbench.bench.canonical import sha256_file
from tdbench.bench.config import is_custom, is_custom_audit
from tdbench.bench.context import Context
from tdbench.bench.cost import CostMeter, merged, share
from tdbench.bench.distilled import DistilledSet, check_files
from tdbench.bench.errors import PluginError, redacted
from tdbench.bench.experiment.contexts import (
    Tick,
    checked_scores,
    contamination,
    context_of,
    fitted_scores,
    models_read,
    train_inputs,
    train_seed,
)
from tdbench.bench.experiment.jobs import AUDIT_VERSION, AuditJob, DistilJob, Job, QueryJob, TrainJob
from tdbench.bench.experiment.provenance import provenance
from tdbench.bench.matching.initialisation import vectors_of, words_of
from tdbench.bench.metrics import score
from tdbench.bench.models.encoder import CachedEncoder
from tdbench.bench.privacy.attacks.text import TextAttacks
from tdbench.bench.privacy.attacks.vectors import VectorAttacks
from tdbench.bench.privacy.audit import Audit, SetAttacks
from tdbench.bench.privacy.private_method import PrivateMethod, release_from
from tdbench.bench.quality.evaluator import evaluator_of, judged, nearest_tokens
from tdbench.bench.record import DistilResult, Failure, PrivacyStatement, Record, TextQuality, TrainResult, set_sha256
from tdbench.bench.registry import source_sha256
from tdbench.bench.training.recipe import ENGINE_NUMERICS, Recipe
from tdbench.bench.training.resolve import resolve_learner
from tdbench.bench.training.training_set import TrainContext, TrainingSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.models.llm.client import Spending
    from tdbench.bench.privacy.attacks.text import Embed
    from tdbench.bench.privacy.released import Released
    from tdbench.bench.settings import Protocol


def run_distil(
    job: DistilJob, scratch: Path, cache: Path, device: str, tick: Tick, *, spending: Spending | None = None
) -> Record:
    """Makes a distilled set, counts it, and saves its files into `scratch`; `spending` is what the command may ask of language models."""
    cost = CostMeter(device)
    work = scratch / "work"
    work.mkdir()
    context = context_of(job, cost, work, cache=cache, device=device, tick=tick, spending=spending)
    # Standard output belongs to the command.
    with cost.phase("distil"), contextlib.redirect_stdout(sys.stderr):
        made, statement = _distil(job, context)
    if not isinstance(made, DistilledSet):
        raise PluginError(f"method '{job.cell.method}' returned {type(made).__name__}; expected a DistilledSet.")
    _check(job, made)
    shutil.rmtree(work)
    evaluator = context_of(job, CostMeter(device), work, cache=cache, device=device, tick=tick)
    curves = {name: tuple(map(float, values)) for name, values in sorted(context.curves.items())}
    promise = {"privacy": statement, "epsilon": statement.epsilon, "delta": statement.delta} if statement else {}
    noted = {"diagnostics": _finite(context.diagnostics), "curves": curves}
    quality = _quality(job, made, evaluator, cache) if job.stage == "distil" else None
    result = _count(job, made).model_copy(update={**noted, **promise, "quality": quality})
    card: dict[str, Any] = {
        "task": job.cell.task,
        "method": job.facts.label,
        "budget": job.cell.budget,
        "id": job.id,
        "track": made.track,
    }
    if made.soft is not None and job.stage == "distil":
        card["nearest_tokens"] = nearest_tokens(made, job.data.train, evaluator)
    hashes = made.save(scratch, card)
    source = source_sha256(type(job.method))
    if job.method.external:
        cost = CostMeter(device)  # nobody has measured it
    return describe(job, job.id, job.stage, device, cost, distil=result, artefacts=hashes, source=source)


def _check(job: DistilJob, made: DistilledSet) -> None:
    """Checks a set against its budget, its method's card and the protocol's source."""
    made.check(job.budget, job.data.train)
    if job.method.output != made.output:
        raise PluginError(
            f"the card of '{job.cell.method}' says output '{job.method.output}', the set holds '{made.output}'; correct the card."
        )
    if made.soft is not None and made.soft.learner != job.cell.source.get("name"):
        raise PluginError(
            f"its token vectors are bound to '{made.soft.learner}'; this protocol trains them on '{job.cell.source.get('name')}'."
        )


def _distil(job: DistilJob, context: Context) -> tuple[DistilledSet, PrivacyStatement | None]:
    """Hands a method a copy of the train split, because a plug-in may change in place what later cells rely on.

    A private method is handed an oracle.
    """
    rows = job.data.train.copy()
    if isinstance(job.method, PrivateMethod):
        release = release_from(job.method, rows, job.budget, context)
        return release.made, release.statement
    return job.method.distil(rows, job.budget, context), None


def _finite(diagnostics: dict[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in sorted(diagnostics.items()) if np.isfinite(value)}


def _quality(job: DistilJob, made: DistilledSet, evaluator: Context, cache: Path) -> TextQuality | None:
    """Measures the set's texts; what fails here costs no set, and `tdbench quality` may make up for it."""
    if job.facts.full_data:
        return None
    try:
        found = evaluator_of(job.data, cache, evaluator.device).measure(made, job.sentences)
        # The judge is made of the source learner's tokens; a source without any leaves the texts unjudged.
        writes = made.output == "text" and job.method.writes
        if found is None or not writes or not resolve_learner(str(job.cell.source["name"])).has_token_table:
            return found
        return found.model_copy(update={"values": {**found.values, **judged(made, job.data.train, evaluator)}})
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        sys.stderr.write(f"its texts were not measured ({why}); `tdbench quality` tries again.\n")
        return None


def _count(job: DistilJob, made: DistilledSet) -> DistilResult:
    real = job.data.train
    return DistilResult(
        track=made.track,
        output=made.output,
        n_rows=len(made),
        rows_per_class=tuple(np.bincount(made.labels_M, minlength=real.n_classes).tolist()),
        n_tokens=sum(made.token_counts(real)),
        n_bytes=made.n_bytes(real),
        n_test_exact=made.n_exact(real, job.data.test),
        n_train_exact=made.n_exact(real, real) if made.output == "text" else 0,
        n_public_exact=0 if job.public is None else job.public.n_texts_of(made),
        contamination="; ".join(filter(None, models_read(job))),
    )


def run_train(job: TrainJob, made: DistilledSet, set_sha256: str, device: str, tick: Tick) -> Record:
    """Trains one learner with one seed and reads the test rows once; the learner sees the test texts without labels."""
    cost = CostMeter(device)
    train, test, recipe = train_inputs(job, made)
    context = TrainContext(train_seed(job), device, cost, tick)
    scores_NC = fitted_scores(job, train, test, recipe, context)
    return _train_record(job, train, scores_NC, recipe, context, set_sha256=set_sha256)


def run_train_stack(
    jobs: list[TrainJob], made: list[DistilledSet], set_sha256s: list[str], device: str, tick: Tick
) -> list[Record] | None:
    """Trains several sets and seeds of one learner at once.

    Every record bears an equal share of the cost.

    Returns:
        A record for each job, or None where they must be trained one by one.
    """
    cost = CostMeter(device)
    inputs = [train_inputs(job, one) for job, one in zip(jobs, made, strict=True)]
    _, test, recipe = inputs[0]
    trains = [train for train, _, _ in inputs]
    same = all(other == recipe for _, _, other in inputs)
    if not same or any(train.only_class is not None for train in trains):
        return None
    contexts = [TrainContext(train_seed(job), device, cost, tick) for job in jobs]
    with contextlib.redirect_stdout(sys.stderr):
        scores = jobs[0].learner.fit_predict_stack(trains, test.without_labels(), recipe, contexts)
    if scores is None:
        return None
    shares = tuple(share(phase, len(jobs)) for phase in merged(cost.phases))
    records = []
    for job, train, scores_NC, context, sha256 in zip(jobs, trains, scores, contexts, set_sha256s, strict=True):
        checked = checked_scores(scores_NC, len(test), jobs[0].distil.data.train.n_classes, job.learner_name)
        context.notes.append(f"costs are an equal share of those of {len(jobs)} models")
        record = _train_record(job, train, checked, recipe, context, set_sha256=sha256)
        records.append(record.model_copy(update={"cost": shares}))
    return records


def _train_record(
    job: TrainJob, train: TrainingSet, scores_NC: Any, recipe: Recipe, context: TrainContext, *, set_sha256: str
) -> Record:
    data, schedule = job.distil.data, train.schedule
    steps = recipe.steps if schedule is None else len(schedule.rates_T2)
    test = data.test_draw(job.protocol.test_rows)
    predictions = scores_NC.argmax(axis=1)
    result = TrainResult(
        learner=job.learner_name,
        learner_spec=job.learner.identity(),
        engine_numerics=ENGINE_NUMERICS,
        is_source=job.learner_name == job.protocol.source,
        seed_index=job.seed_index,
        seed=context.seed,
        mode="recipe" if schedule is None else "learned-schedule",
        steps=steps if train.only_class is None and job.learner.uses_lr else 0,
        lr=recipe.lr if schedule is None else None,
        n_test=len(test),
        test_fingerprint=test.fingerprint,
        majority_frac=float(np.bincount(test.labels_N).max() / len(test)),
        predictions=tuple(int(p) for p in predictions),
        metric=data.task.metric,
        contamination=contamination(job.distil, job.learner),
        notes=tuple(context.notes),
        **score(predictions, test.labels_N, data.train.n_classes),
    )
    parts = {"train": result, "set_sha256": set_sha256, **protocol_parts(job)}
    return describe(job.distil, job.id, "train", context.device, context.cost, **parts)


def failed(job: Job, error: BaseException, device: str) -> Record:
    """Describes a failure as a record."""
    failure = Failure(
        type=type(error).__name__,
        message=redacted(str(error)),
        traceback=redacted("".join(traceback.format_exception(error))),
    )
    if isinstance(job, DistilJob):
        return describe(job, job.id, job.stage, device, CostMeter(), error=failure)
    parts: dict[str, Any] = {"protocol": job.protocol.content, "custom": is_custom(job.protocol)}
    if isinstance(job, TrainJob | QueryJob):
        parts = protocol_parts(job.train if isinstance(job, QueryJob) else job)
    return describe(job.distil, job.id, job.stage, device, CostMeter(), error=failure, **parts)


def protocol_parts(job: TrainJob) -> dict[str, Any]:
    """Returns the fields of a record that say how a model was trained."""
    return {
        "learner": job.learner_name,
        "seed_index": job.seed_index,
        "protocol": job.protocol.content,
        "custom": is_custom(job.protocol),
        "source": source_sha256(type(job.learner)),
    }


def describe(job: DistilJob, stage_id: str, stage: str, device: str, cost: CostMeter, **parts: Any) -> Record:
    """Makes a record of what a stage found and cost."""
    from tdbench.bench.training.prepared import compute_dtype_name

    origin = provenance(device, dtype=compute_dtype_name(device), plugin_source_sha256=parts.pop("source", None))
    return Record.model_validate(
        {
            "stage": stage,
            "id": stage_id,
            "distil_id": job.id,
            "status": "failed" if parts.get("error") else "ok",
            "cell": job.cell,
            "method_facts": job.facts,
            "cost": tuple(cost.phases),
            "provenance": origin,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            **parts,
        }
    )


SCORES_FILE = "scores.safetensors"


def run_query(job: QueryJob, made: DistilledSet, set_id: str, scratch: Path, *, device: str, tick: Tick) -> Record:
    """Trains the target model on a shadow's set and keeps its scores of the queries in `scratch`; it sees no label of theirs."""
    from safetensors.numpy import save_file

    cost = CostMeter(device)
    train, _, recipe = train_inputs(job.train, made)
    context = TrainContext(train_seed(job.train), device, cost, tick)
    scores_NC = fitted_scores(job.train, train, job.queries, recipe, context)
    save_file({"scores": np.ascontiguousarray(scores_NC, dtype=np.float32)}, scratch / SCORES_FILE)
    artefacts = {SCORES_FILE: sha256_file(scratch / SCORES_FILE)}
    parts = {"artefacts": artefacts, "set_sha256": set_id, **protocol_parts(job.train)}
    return describe(job.distil, job.id, job.stage, device, cost, **parts)


def read_scores(folder: Path, record: Record) -> NDArray[np.float32]:
    """Reads what `run_query` kept.

    Raises:
        RecordError: The file is missing or has changed.
    """
    from safetensors.numpy import load_file

    check_files(folder, record.artefacts)
    return load_file(folder / SCORES_FILE)["scores"]


def run_audit(
    job: AuditJob,
    targets: list[Released],
    records: list[Record],
    scratch: Path,
    *,
    cache: Path,
    device: str,
    tick: Tick,
) -> Record:
    """Plays the games.

    Args:
        job: The audit.
        targets: What every run released, the null run last.
        records: Of the runs' distillations.
        scratch: Empty folder.
        cache: Where features are kept.
        device: Device of the attacker's encoder.
        tick: Receives the finished fraction.
    """
    cost = CostMeter(device)
    context = context_of(job.shadows[0].distil, cost, scratch, cache=cache, device=device, tick=tick)
    runs, null = (targets, None) if job.null is None else (targets[:-1], targets[-1])
    notes: list[str] = []
    with cost.phase("attack"):
        match = Audit(
            pool=job.pool,
            runs=runs,
            null=null,
            attacks=_attacks(job, context, runs[0], cache, notes),
            members_SG=job.pool.membership(len(runs)),
            claim=_claim(records),
        )
        result = match.evaluate(tick)
    result |= {
        "audit_version": AUDIT_VERSION,
        "settings": job.settings.content,
        "games": job.settings.games,
        "set_sha256s": tuple(map(set_sha256, records)),
        "notes": tuple(notes),
    }
    parts: dict[str, Any] = {
        "audit": result,
        "protocol": job.protocol.content,
        "learner": job.protocol.source if "model" in job.settings.games else None,
        "custom": is_custom(job.protocol) or is_custom_audit(job.settings),
    }
    return describe(job.distil, job.id, job.stage, device, cost, **parts)


def _attacks(job: AuditJob, context: Context, released: Released, cache: Path, notes: list[str]) -> SetAttacks:
    """Returns the attacks on texts, or on token vectors."""
    if released.made.soft is not None:
        source = context.source(released.real)
        return VectorAttacks(job.pool.rows, lambda text: vectors_of(source, words_of(source, text)))
    task = job.distil.cell.task
    embed = public_encoder(job.protocol, task, cache, device=context.device, cost=context.cost, notes=notes)
    return TextAttacks(job.pool.rows, job.pool.auxiliary, embed)


def _claim(records: list[Record]) -> tuple[float, float] | None:
    """Returns the weakest promise of the runs; None where one promises nothing that can be refuted."""
    claims = [(r.distil.epsilon, r.distil.delta) for r in records if r.distil is not None]
    kept = [(eps, delta) for eps, delta in claims if isinstance(eps, float) and delta is not None]
    return max(kept) if kept and len(kept) == len(records) else None


def public_encoder(
    protocol: Protocol, task: str, cache: Path, *, device: str, cost: CostMeter, notes: list[str]
) -> Embed | None:
    """Returns the attacker's encoder of texts: the protocol's source learner as it was before it saw the task.

    Args:
        protocol: Names the source learner.
        task: Decides the maximum length.
        cache: Where features are kept.
        device: `cpu` or `cuda`.
        cost: Cost meter.
        notes: Receives the reason where there is none.
    """
    learner = resolve_learner(protocol.source)
    problem = learner.available()
    if problem is None:
        encoder = CachedEncoder(learner.encoder(protocol.length_for(task), device), cache / "features")
        if encoder.rowwise:
            return lambda text: encoder.embed(text, cost)
        problem = f"{protocol.source} has no encoder that is fixed beforehand"
    notes.append(f"no attack by nearest neighbours: {problem}")
    return None
