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
    from tdbench.bench.experiment.archive import Accepted
    from tdbench.bench.experiment.plan import Plan
    from tdbench.bench.experiment.store import Store
    from tdbench.bench.privacy.pool import Pool
    from tdbench.bench.privacy.released import Released
    from tdbench.bench.settings import RunSettings

_DRAWS = 64
"""Draws of members among which the one behind a list of rows is looked for."""
_GAMES = {"text": "sees the set", "model": "sees the model"}


def print_audits(plan: Plan, store: Store, accepted: Accepted | None) -> None:
    """Prints what the audits of a plan found."""
    for job in plan.audits:
        record = store.get(job.stage, job.id) or (None if accepted is None else accepted.get(job.id))
        if record is not None and record.audit is not None:
            print("\n".join(audit_lines(job.title, record.audit)))  # noqa: T201


def audit_lines(title: str, found: AuditResult) -> list[str]:
    """Writes what an audit found: copies first, then each attack, headline first, then what guesses prove."""
    worst = found.worst_run
    runs = f"{len(found.n_members)} run" + ("s" if len(found.n_members) > 1 else "")
    lines = [
        f"{title}: {runs}, {found.n_members[worst]:,} members and {found.n_non_members[worst]:,} non-members",
        f"  copied word for word: {found.exact_members[worst]} of {found.n_member_rows[worst]:,} rows that it was made from"
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
    if one.detectable_auc is None and one.auc == 0.5:
        return f"{name:28}nothing: all candidates score the same"
    text = f"{name:28}AUC {one.auc:.3f} [{one.auc_low:.3f}, {one.auc_high:.3f}]"
    if one.auc_low <= 0.5 <= one.auc_high and one.detectable_auc is not None:
        text += f", would have found {one.detectable_auc:.3f}"
    if one.tpr_at_1pct is not None:
        text += f", {one.tpr_at_1pct:.1%} of members at 1 % false positives"
    return text if one.null_auc is None else f"{text}; null run {one.null_auc:.3f}"


def draw_command(path: Path, task: str | None, number: int, words: list[str]) -> int:
    """Writes the rows that a set is to be distilled from before it is audited. Returns the exit code.

    Args:
        path: Receives one row id a line.
        task: Name of the task.
        number: Which draw; 2k and 2k + 1 are complementary.
        words: More overrides, such as `task.variant=enron`.
    """
    one, data = _task(task, words)
    if not 0 <= number < _DRAWS:
        raise UsageError(f"--run {number}: expected 0 to {_DRAWS - 1}.")
    if path.exists():
        raise UsageError(f"{path} exists; name a new file, so that no list of members is lost.")
    members = _pool(one, data).members(number)
    lines = [
        f"# Draw {number} of the audit pool of {task}: row ids of the train file, counted from 0. Distil from these rows alone.",
        *map(str, sorted(members.row_ids_N.tolist())),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(members):,} of {len(data.train):,} train rows: {path}")  # noqa: T201
    return 0


def audit_command(file: Path | None, task: str | None, members: Path | None, as_json: bool, words: list[str]) -> int:
    """Plays the games on a set that was made anywhere. Returns the exit code.

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
    one, data = _task(task, words)
    if one.audit.games != ("text",):
        raise UsageError(
            f"audit={one.audit.name}: of a set made elsewhere only the texts are audited; leave audit= out."
        )
    made, _ = read_set(file, data.task)
    rows = data.train.take(data.train.positions_of_rows(read_ids(members)))
    released = Released(made, rows)
    result = _audited(one, data, released)
    result |= {"audit_version": AUDIT_VERSION, "games": ("text",), "set_sha256s": (content_of(made),)}
    found = AuditResult.model_validate(result)
    if as_json:
        print(json.dumps(found.model_dump(mode="json")))  # noqa: T201
    else:
        print("\n".join(audit_lines(f"{task} · {file.name}", found)))  # noqa: T201
    return 0


def _audited(one: RunSettings, data: TaskData, released: Released) -> dict[str, Any]:
    """Plays the game on texts."""
    from tdbench.bench.cost import CostMeter
    from tdbench.bench.experiment.provenance import choose_device
    from tdbench.bench.experiment.stages import public_encoder
    from tdbench.bench.experiment.store import Store
    from tdbench.bench.privacy.attacks.text import TextAttacks
    from tdbench.bench.privacy.games import Match

    pool, members_G, draw = _candidates(one, data, released.real)
    notes: list[str] = []
    if draw is None:
        what = f"{len(pool.rows):,} rows are compared"
        notes.append(f"members are not a draw of `tdbench audit --draw`, so no test by coins; {what}")
    device, cache = choose_device(one.runtime.device), Store(one.runtime.root).cache
    embed = public_encoder(one.protocol, one.task_name, cache, device=device, cost=CostMeter(device), notes=notes)
    match = Match(
        pool=pool,
        runs=[released],
        null=None,
        attacks=TextAttacks(pool.rows, pool.auxiliary, embed),
        members_SG=members_G[None],
        fair=draw is not None,
    )
    result = match.play()
    if draw is None:  # the pool holds a sample of the members; copies are counted among all of them
        result["exact_members"] = (released.made.n_exact(released.real, released.real),)
        result["n_member_rows"] = (len(released.real),)
    return {**result, "settings": {**one.audit.model_dump(mode="json"), "draw": draw}, "notes": tuple(notes)}


def read_ids(path: Path) -> list[int]:
    """Reads row ids, one a line; lines that begin with # are remarks.

    Raises:
        DataError: A line is no row id, or one id stands twice.
    """
    found: list[int] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if not text.isdecimal():
            raise DataError(f"{path}, line {number}: got {text[:40]!r}; expected a row id, a number from 0.")
        found.append(int(text))
    if len(set(found)) < len(found):
        raise DataError(f"{path}: a row id stands more than once; every row is a member once.")
    if not found:
        raise DataError(f"{path} names no row; expected the ids of the train rows that the set was made from.")
    return found


def _task(task: str | None, words: list[str]) -> tuple[RunSettings, TaskData]:
    if task is None:
        raise UsageError("no task given; add --task NAME (`tdbench list` shows them).")
    from tdbench.bench.config import settings_for
    from tdbench.bench.data.loading import load_task
    from tdbench.bench.registry import TASKS

    chosen = [] if any(word.startswith("protocol=") for word in words) else ["protocol=lite-v1"]
    (one,) = settings_for([f"task={task}", "method=random", "budget=dpc10", "audit=text", *chosen, *words])
    plugin = TASKS.get(one.task_name)
    return one, load_task(plugin(plugin.Config(**one.task_options)), one.data.kind, one.data.root)


def _pool(one: RunSettings, data: TaskData) -> Pool:
    from tdbench.bench.privacy.pool import draw_pool

    return draw_pool(data, one.audit.pool_rows, one.audit.auxiliary_rows)


def _candidates(one: RunSettings, data: TaskData, rows: LabelledText) -> tuple[Pool, Any, int | None]:
    """Returns a pool, who of it is a member, and which draw that is; of other members, a sample beside as many other train rows."""
    from tdbench.bench.privacy.pool import compared

    drawn = _pool(one, data)
    ids = set(rows.row_ids_N.tolist())
    for number in range(_DRAWS):
        if set(drawn.members(number).row_ids_N.tolist()) == ids:
            return drawn, drawn.coins(number), number
    pool, members_G = compared(data, rows, one.audit.pool_rows, one.audit.auxiliary_rows)
    return pool, members_G, None
