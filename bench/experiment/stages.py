"""Stages: how each is run and described as a record. No stage knows of stores, locks or the order of a run."""

from __future__ import annotations

import contextlib
import shutil
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from tdbench.bench.canonical import seed_from, sha256_file
from tdbench.bench.config import is_custom, is_custom_audit
from tdbench.bench.context import Context
from tdbench.bench.cost import CostMeter, merged, share
from tdbench.bench.data.text import LabelledText
from tdbench.bench.distilled import DistilledSet, check_files
from tdbench.bench.errors import DataError, PluginError, redacted
from tdbench.bench.experiment.contexts import Workspace, contamination, context_of, models_read
from tdbench.bench.experiment.jobs import (
    AUDIT_VERSION,
    AuditJob,
    DistilJob,
    Job,
    QueryJob,
    Shadow,
    TrainJob,
    learner_seed,
    recipe_in_epochs,
)
from tdbench.bench.experiment.provenance import provenance
from tdbench.bench.matching.initialisation import vectors_of, words_of
from tdbench.bench.metrics import score
from tdbench.bench.models.encoder import CachedEncoder
from tdbench.bench.privacy.attacks.text import TextAttacks
from tdbench.bench.privacy.attacks.vectors import VectorAttacks
from tdbench.bench.privacy.audit import Audit, SetAttacks, baseline_auc, check_baseline
from tdbench.bench.privacy.private_method import PrivateMethod, release_from
from tdbench.bench.privacy.released import Released
from tdbench.bench.quality.evaluator import evaluator_of, judged, nearest_tokens
from tdbench.bench.record import (
    DistilResult,
    Failure,
    PrivacyStatement,
    Record,
    Stage,
    TextQuality,
    TrainResult,
    set_sha256,
)
from tdbench.bench.registry import source_sha256
from tdbench.bench.settings import Protocol
from tdbench.bench.training.recipe import ENGINE_NUMERICS, Recipe
from tdbench.bench.training.resolve import resolve_learner
from tdbench.bench.training.training_set import TrainContext, TrainingSet

if TYPE_CHECKING:
    from pathlib import Path

    from tdbench.bench.privacy.attacks.text import Embed

SCORES_FILE = "scores.safetensors"


def run_distil(job: DistilJob, workspace: Workspace) -> Record:
    """Makes a distilled set, counts it, and writes its files."""
    cost = CostMeter(workspace.device)
    scratch = workspace.scratch / "work"
    scratch.mkdir()
    context = context_of(job, replace(workspace, scratch=scratch), cost)
    # Standard output belongs to the command.
    with cost.phase("distil"), contextlib.redirect_stdout(sys.stderr):
        distilled, statement = _distil(job, context)
    shutil.rmtree(scratch)
    if not isinstance(distilled, DistilledSet):
        raise PluginError(f"method '{job.cell.method}' returned {type(distilled).__name__}; expected a DistilledSet.")
    _check(job, distilled)
    evaluator = context_of(job, workspace, CostMeter(workspace.device))
    quality = _quality(job, distilled, evaluator, workspace.cache) if job.stage == "distil" else None
    promise = {"privacy": statement, "epsilon": statement.epsilon, "delta": statement.delta} if statement else {}
    noted = {
        "diagnostics": _finite(context.diagnostics),
        "curves": {name: tuple(map(float, values)) for name, values in sorted(context.curves.items())},
        "quality": quality,
    }
    result = _count(job, distilled).model_copy(update={**noted, **promise})
    card: dict[str, Any] = {
        "task": job.cell.task,
        "method": job.facts.label,
        "budget": job.cell.budget,
        "id": job.id,
        "track": distilled.track,
    }
    if distilled.output == "embedding" and job.stage == "distil":
        card["nearest_tokens"] = nearest_tokens(distilled, job.data.train, evaluator)
    hashes = distilled.save(workspace.scratch, card)
    if job.method.external:
        cost = CostMeter(workspace.device)  # nobody has measured it
    parts = {"distil": result, "artefacts": hashes, "source": source_sha256(type(job.method))}
    return describe(job, job, workspace.device, cost, **parts)


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


def run_train(job: TrainJob, workspace: Workspace) -> Record:
    """Trains one learner with one seed and reads the test rows once; the learner sees the test texts without labels."""
    cost = CostMeter(workspace.device)
    train, test, recipe = train_inputs(job, workspace.inputs.distilled(job.distil))
    context = TrainContext(train_seed(job), workspace.device, cost, workspace.tick)
    scores_NC = fitted_scores(job, train, test, recipe, context)
    return _train_record(job, train, scores_NC, recipe, context, set_hash=_set_hash(job, workspace))


def run_train_stack(jobs: list[TrainJob], workspace: Workspace) -> list[Record] | None:
    """Trains several sets and seeds of one learner at once.

    Every record bears an equal share of the cost.

    Returns:
        A record for each job, or None where they must be trained one by one.
    """
    cost = CostMeter(workspace.device)
    inputs = [train_inputs(job, workspace.inputs.distilled(job.distil)) for job in jobs]
    _, test, recipe = inputs[0]
    trains = [train for train, _, _ in inputs]
    same = all(other == recipe for _, _, other in inputs)
    if not same or any(train.only_class is not None for train in trains):
        return None
    contexts = [TrainContext(train_seed(job), workspace.device, cost, workspace.tick) for job in jobs]
    with contextlib.redirect_stdout(sys.stderr):
        scores = jobs[0].learner.fit_predict_stack(trains, test.without_labels(), recipe, contexts)
    if scores is None:
        return None
    shares = tuple(share(phase, len(jobs)) for phase in merged(cost.phases))
    records = []
    for job, train, scores_NC, context in zip(jobs, trains, scores, contexts, strict=True):
        checked = checked_scores(scores_NC, len(test), jobs[0].distil.data.train.n_classes, job.learner_name)
        context.notes.append(f"costs are an equal share of those of {len(jobs)} models")
        record = _train_record(job, train, checked, recipe, context, set_hash=_set_hash(job, workspace))
        records.append(record.model_copy(update={"cost": shares}))
    return records


def _set_hash(job: TrainJob, workspace: Workspace) -> str:
    return set_sha256(workspace.inputs.finished(job.distil))


def train_inputs(job: TrainJob, distilled: DistilledSet) -> tuple[TrainingSet, LabelledText, Recipe]:
    """Returns what a learner trains on, the test rows, and the recipe."""
    data = job.distil.data
    train = TrainingSet.of(distilled, data.train)
    if job.protocol.real_per_class:
        train = train.with_real(mixed_in(job, distilled))
    recipe = job.recipe or recipe_in_epochs(
        job.protocol, job.distil.cell.task, job.learner_name, job.learner, len(train.text)
    )
    return train, data.test_draw(job.protocol.test_rows), recipe


def mixed_in(job: TrainJob, distilled: DistilledSet) -> LabelledText:
    """Draws the real texts of a mixture: the same ones for all methods at one set and seed index, what a set has selected passed over.

    Raises:
        DataError: A class has too few rows besides the selected ones.
    """
    data, cell, wanted = job.distil.data, job.distil.cell, job.protocol.real_per_class
    rng = np.random.default_rng(seed_from("mixture", cell.task, cell.task_version, cell.set_index, job.seed_index))
    taken = np.array([], dtype=np.int64) if distilled.row_ids_M is None else distilled.row_ids_M
    rows = []
    for label in range(data.train.n_classes):
        positions = rng.permutation(data.train.positions_of_class(label))
        rows.append(positions[~np.isin(data.train.row_ids_N[positions], taken)][:wanted])
        if len(rows[-1]) < wanted:
            raise DataError(
                f"class '{data.train.label_names[label]}' has {len(rows[-1])} rows besides the set's; protocol.real_per_class={wanted}."
            )
    return data.train.take(np.concatenate(rows))


def train_seed(job: TrainJob) -> int:
    """Returns the learner's seed."""
    return learner_seed(job.distil.cell.set_index, job.seed_index)


def fitted_scores(
    job: TrainJob, train: TrainingSet, texts: LabelledText, recipe: Recipe, context: TrainContext
) -> np.ndarray:
    """Trains one learner and returns its (N, C) scores of some texts, whose labels it does not see.

    Raises:
        PluginError: The scores have another shape, or hold NaN.
    """
    n_classes = job.distil.data.train.n_classes
    if train.only_class is not None:
        context.notes.append("one class: the constant predictor, no training")
        return np.tile(np.eye(n_classes)[train.only_class], (len(texts), 1))
    with contextlib.redirect_stdout(sys.stderr):
        scores_NC = job.learner.fit_predict(train, texts.without_labels(), recipe, context)
    return checked_scores(scores_NC, len(texts), n_classes, job.learner_name)


def checked_scores(scores_NC: Any, n_rows: int, n_classes: int, learner: str) -> np.ndarray:
    """Returns a learner's scores as an array.

    Raises:
        PluginError: They have another shape than (n_rows, n_classes), or hold NaN.
    """
    scores = np.asarray(scores_NC)
    if scores.shape != (n_rows, n_classes):
        raise PluginError(
            f"learner '{learner}' returned scores of shape {scores.shape}; expected ({n_rows}, {n_classes})."
        )
    if np.isnan(scores).any():
        raise PluginError(f"learner '{learner}' returned NaN scores: training diverged.")
    return scores


def _train_record(
    job: TrainJob, train: TrainingSet, scores_NC: Any, recipe: Recipe, context: TrainContext, *, set_hash: str
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
    parts = {"train": result, "set_sha256": set_hash, **protocol_parts(job)}
    return describe(job, job.distil, context.device, context.cost, **parts)


def failed(job: Job, error: BaseException, device: str) -> Record:
    """Describes a failure as a record."""
    failure = Failure(
        type=type(error).__name__,
        message=redacted(str(error)),
        traceback=redacted("".join(traceback.format_exception(error))),
    )
    if isinstance(job, DistilJob):
        return describe(job, job, device, CostMeter(), error=failure)
    parts: dict[str, Any] = {"protocol": job.protocol.content, "custom": is_custom(job.protocol)}
    if isinstance(job, TrainJob | QueryJob):
        parts = protocol_parts(job.train if isinstance(job, QueryJob) else job)
    return describe(job, job.distil, device, CostMeter(), error=failure, **parts)


def protocol_parts(job: TrainJob) -> dict[str, Any]:
    """Returns the fields of a record that say how a model was trained."""
    return {
        "learner": job.learner_name,
        "seed_index": job.seed_index,
        "protocol": job.protocol.content,
        "custom": is_custom(job.protocol),
        "source": source_sha256(type(job.learner)),
    }


def describe(job: Job, set_job: DistilJob, device: str, cost: CostMeter, **parts: Any) -> Record:
    """Makes a record of what a stage found and cost."""
    from tdbench.bench.training.prepared import compute_dtype_name

    origin = provenance(device, dtype=compute_dtype_name(device), plugin_source_sha256=parts.pop("source", None))
    return Record.model_validate(
        {
            "stage": job.stage,
            "id": job.id,
            "distil_id": set_job.id,
            "status": "failed" if parts.get("error") else "ok",
            "cell": set_job.cell,
            "method_facts": set_job.facts,
            "cost": tuple(cost.phases),
            "provenance": origin,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            **parts,
        }
    )


def run_query(job: QueryJob, workspace: Workspace) -> Record:
    """Trains the target model on a shadow's set and keeps its scores of the queries; it sees no label of theirs."""
    from safetensors.numpy import save_file

    cost, path = CostMeter(workspace.device), workspace.scratch / SCORES_FILE
    train, _, recipe = train_inputs(job.train, workspace.inputs.distilled(job.distil))
    context = TrainContext(train_seed(job.train), workspace.device, cost, workspace.tick)
    scores_NC = fitted_scores(job.train, train, job.queries, recipe, context)
    save_file({"scores": np.ascontiguousarray(scores_NC, dtype=np.float32)}, path)
    parts = {"artefacts": {SCORES_FILE: sha256_file(path)}, "set_sha256": _set_hash(job.train, workspace)}
    return describe(job, job.distil, workspace.device, cost, **parts, **protocol_parts(job.train))


def check_audit(job: AuditJob) -> None:
    """Checks that members of an audit's runs cannot be told from non-members without any set.

    Raises:
        DataError: They can.
    """
    check_baseline(baseline_auc(job.pool, job.pool.membership(len(job.shadows))[::2]))


def run_audit(job: AuditJob, workspace: Workspace) -> Record:
    """Attacks the sets of an audit's runs, and the models trained on them."""
    check_audit(job)
    cost = CostMeter(workspace.device)
    context = context_of(job.shadows[0].distil, workspace, cost)
    targets = [_released(shadow, workspace) for shadow in job.runs]
    records = [workspace.inputs.finished(shadow.distil) for shadow in job.runs]
    runs, null = (targets, None) if job.null is None else (targets[:-1], targets[-1])
    notes: list[str] = []
    with cost.phase("attack"):
        match = Audit(
            pool=job.pool,
            runs=runs,
            null=null,
            attacks=_attacks(job, context, runs[0], workspace.cache, notes),
            members_SG=job.pool.membership(len(runs)),
            claim=_claim(records),
        )
        result = match.evaluate(workspace.tick)
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
    return describe(job, job.distil, workspace.device, cost, **parts)


def _released(shadow: Shadow, workspace: Workspace) -> Released:
    """Reads one run's set, and the scores of the model trained on it.

    Raises:
        RecordError: A file is missing or has changed.
    """
    from safetensors.numpy import load_file

    inputs, scores_QC = workspace.inputs, None
    if shadow.query is not None:
        check_files(inputs.folder(shadow.query), inputs.finished(shadow.query).artefacts)
        scores_QC = load_file(inputs.folder(shadow.query) / SCORES_FILE)["scores"]
    return Released(inputs.distilled(shadow.distil), shadow.distil.data.train, scores_QC)


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


STAGES: dict[Stage, Callable[[Any, Workspace], Record]] = {
    "distil": run_distil,
    "train": run_train,
    "shadow": run_distil,
    "query": run_query,
    "audit": run_audit,
}
"""Every kind of stage, and what runs a job of it once all that the job `needs` has run."""
