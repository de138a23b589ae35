"""What an audit found, in words; and `tdbench audit`, for a set that was made anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdbench.bench.errors import DataError, UsageError
from tdbench.bench.experiment.external import content_of
from tdbench.bench.experiment.jobs import AUDIT_VERSION
from tdbench.bench.record import AttackResult, AuditResult

if TYPE_CHECKING:
    from tdbench.bench.data.loading import TaskData
    from tdbench.bench.data.text import LabelledText
    from tdbench.bench.experiment.plan import Plan
    from tdbench.bench.experiment.results import Results
    from tdbench.bench.privacy.pool import Pool
    from tdbench.bench.privacy.released import Released
    from tdbench.bench.settings import RunSettings

_DRAWS = 64
"""Draws of members among which the one behind a list of rows is looked for."""
_GAMES = {"text": "sees the set", "model": "sees the model"}


def print_audits(plan: Plan, results: Results) -> None:
    """Prints what the audits of a plan found."""
    for job in plan.audits:
        record = results.get(job.stage, job.id)
        if record is not None and record.audit is not None:
            print("\n".join(audit_lines(job.title, record.audit)))  # noqa: T201


def audit_lines(title: str, result: AuditResult) -> list[str]:
    """Writes what an audit found: copies first, then each attack, headline first, then what guesses prove."""
    worst = result.worst_run
    runs = f"{len(result.n_members)} run" + ("s" if len(result.n_members) > 1 else "")
    lines = [
        f"{title}: {runs}, {result.n_members[worst]:,} members and {result.n_non_members[worst]:,} non-members",
        f"  copied word for word: {result.exact_members[worst]} of {result.n_member_rows[worst]:,} rows that it was made from"
        f" ({result.exact_non_members[worst]} non-members), in a set of {result.n_released[worst]}",
    ]
    for game, what in _GAMES.items():
        attacks = sorted(
            (attack for attack in result.attacks if attack.game == game), key=lambda attack: not attack.headline
        )
        lines += [f"  {what:15}{_attack(attack)}" for attack in attacks]
    for test in result.coin_tests:
        lines.append(
            f"  guesses ({test.test}, {_GAMES[test.game]}): {test.right} of {test.guesses} right (p {test.p_value:.2g}),"
            f" empirical epsilon lower bound {test.epsilon_lower:.2f}"
        )
    if result.epsilon_claim is not None:
        refuted = result.epsilon_lower > float(result.epsilon_claim)
        lines.append(f"  promised epsilon {result.epsilon_claim}: {'REFUTED' if refuted else 'not refuted'}")
    return lines + [f"  note: {note}" for note in result.notes]


def _attack(attack: AttackResult) -> str:
    name = f"{attack.name} (headline)" if attack.headline else attack.name
    if attack.detectable_auc is None and attack.auc == 0.5:
        return f"{name:28}nothing: all candidates score the same"
    text = f"{name:28}AUC {attack.auc:.3f} [{attack.auc_low:.3f}, {attack.auc_high:.3f}]"
    if attack.auc_low <= 0.5 <= attack.auc_high and attack.detectable_auc is not None:
        text += f", would have found {attack.detectable_auc:.3f}"
    if attack.tpr_at_1pct is not None:
        text += f", {attack.tpr_at_1pct:.1%} of members at 1 % false positives"
    return text if attack.null_auc is None else f"{text}; null run {attack.null_auc:.3f}"


def draw_command(path: Path, task: str | None, number: int, words: list[str]) -> int:
    """Writes the rows that a set is to be distilled from before it is audited. Returns the exit code.

    Args:
        path: Receives one row id a line.
        task: Name of the task.
        number: Which draw; 2k and 2k + 1 are complementary.
        words: More overrides, such as `task.variant=enron`.
    """
    settings, data = _task(task, words)
    if not 0 <= number < _DRAWS:
        raise UsageError(f"--run {number}: expected 0 to {_DRAWS - 1}.")
    if path.exists():
        raise UsageError(f"{path} exists; name a new file, so that no list of members is lost.")
    members = _pool(settings, data).members(number)
    lines = [
        f"# Draw {number} of the audit pool of {task}: row ids of the train file, counted from 0. Distil from these rows alone.",
        *map(str, sorted(members.row_ids_N.tolist())),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(members):,} of {len(data.train):,} train rows: {path}")  # noqa: T201
    return 0


def audit_command(file: Path | None, task: str | None, members: Path | None, as_json: bool, words: list[str]) -> int:
    """Audits a set that was made anywhere. Returns the exit code.

    Args:
        file: The set.
        task: Name of the task it is for.
        members: Row ids of the train rows that it was made from, one a line.
        as_json: Whether to print one JSON object.
        words: More overrides.
    """
    from tdbench.bench.data.set_files import read_set
    from tdbench.bench.privacy.released import Released

    if file is None or members is None:
        raise UsageError(
            "tdbench audit needs a set and who is in it: tdbench audit FILE --task T --members IDS; rows to distil from come from "
            "tdbench audit --draw IDS --task T, with neither FILE nor --members."
        )
    settings, data = _task(task, words)
    if settings.audit.games != ("text",):
        raise UsageError(
            f"audit={settings.audit.name}: of a set made elsewhere only the texts are audited; leave audit= out."
        )
    distilled, _ = read_set(file, data.task)
    rows = data.train.take(data.train.positions_of_rows(read_ids(members)))
    released = Released(distilled, rows)
    figures = _audited(settings, data, released)
    figures |= {"audit_version": AUDIT_VERSION, "games": ("text",), "set_sha256s": (content_of(distilled),)}
    audit = AuditResult.model_validate(figures)
    if as_json:
        print(json.dumps(audit.model_dump(mode="json")))  # noqa: T201
    else:
        print("\n".join(audit_lines(f"{task} · {file.name}", audit)))  # noqa: T201
    return 0


def _audited(settings: RunSettings, data: TaskData, released: Released) -> dict[str, Any]:
    """Audits the texts of a set."""
    from tdbench.bench.cost import CostMeter
    from tdbench.bench.experiment.provenance import choose_device
    from tdbench.bench.experiment.stages import public_encoder
    from tdbench.bench.experiment.store import Store
    from tdbench.bench.privacy.attacks.text import TextAttacks
    from tdbench.bench.privacy.audit import Audit

    pool, members_G, draw = _candidates(settings, data, released.real)
    notes: list[str] = []
    if draw is None:
        what = f"{len(pool.rows):,} rows are compared"
        notes.append(f"members are not a draw of `tdbench audit --draw`, so no test by random membership; {what}")
    device, cache = choose_device(settings.runtime.device), Store(settings.runtime.root).cache
    embed = public_encoder(
        settings.protocol, settings.task_name, cache, device=device, cost=CostMeter(device), notes=notes
    )
    comparison = Audit(
        pool=pool,
        runs=[released],
        null=None,
        attacks=TextAttacks(pool.rows, pool.auxiliary, embed),
        members_SG=members_G[None],
        fair=draw is not None,
    )
    result = comparison.evaluate()
    if draw is None:  # the pool holds a sample of the members; copies are counted among all of them
        result["exact_members"] = (released.made.n_exact(released.real, released.real),)
        result["n_member_rows"] = (len(released.real),)
    return {**result, "settings": {**settings.audit.model_dump(mode="json"), "draw": draw}, "notes": tuple(notes)}


def read_ids(path: Path) -> list[int]:
    """Reads row ids, one a line; lines that begin with # are remarks.

    Raises:
        DataError: A line is no row id, or one id stands twice.
    """
    ids: list[int] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if not text.isdecimal():
            raise DataError(f"{path}, line {number}: got {text[:40]!r}; expected a row id, a number from 0.")
        ids.append(int(text))
    if len(set(ids)) < len(ids):
        raise DataError(f"{path}: a row id stands more than once; every row is a member once.")
    if not ids:
        raise DataError(f"{path} names no row; expected the ids of the train rows that the set was made from.")
    return ids


def _task(task: str | None, words: list[str]) -> tuple[RunSettings, TaskData]:
    if task is None:
        raise UsageError("no task given; add --task NAME (`tdbench list` shows them).")
    from tdbench.bench.config import settings_for
    from tdbench.bench.data.loading import load_task
    from tdbench.bench.registry import TASKS

    chosen = [] if any(word.startswith("protocol=") for word in words) else ["protocol=lite-v1"]
    (settings,) = settings_for([f"task={task}", "method=random", "budget=dpc10", "audit=text", *chosen, *words])
    plugin = TASKS.get(settings.task_name)
    return settings, load_task(plugin(plugin.Config(**settings.task_options)), settings.data.kind, settings.data.root)


def _pool(settings: RunSettings, data: TaskData) -> Pool:
    from tdbench.bench.privacy.pool import draw_pool

    return draw_pool(data, settings.audit.pool_rows, settings.audit.auxiliary_rows)


def _candidates(settings: RunSettings, data: TaskData, rows: LabelledText) -> tuple[Pool, Any, int | None]:
    """Returns a pool, who of it is a member, and which draw that is; of other members, a sample beside as many other train rows."""
    from tdbench.bench.privacy.pool import compared

    drawn = _pool(settings, data)
    ids = set(rows.row_ids_N.tolist())
    for number in range(_DRAWS):
        if set(drawn.members(number).row_ids_N.tolist()) == ids:
            return drawn, drawn.membership_mask(number), number
    pool, members_G = compared(data, rows, settings.audit.pool_rows, settings.audit.auxiliary_rows)
    return pool, members_G, None
