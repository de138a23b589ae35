"""A mechanism with a tenth of its noise is caught by audits; the honest one is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tdbench.bench.data.loading import load_task
from tdbench.bench.data.text import LabelledText
from tdbench.bench.distilled import DistilledSet
from tdbench.bench.privacy.accounting import Mechanism, scale_for
from tdbench.bench.privacy.attacks.text import TextAttacks
from tdbench.bench.privacy.audit import Audit
from tdbench.bench.privacy.oracle import PrivateOracle, Query
from tdbench.bench.privacy.pool import Pool, draw_pool
from tdbench.bench.privacy.released import Released
from tdbench.bench.privacy.statistics import epsilon_lower
from tdbench.bench.privacy.training import RowModel, TrainingOptions, train_rows
from tdbench.bench.record import AuditResult
from tdbench.bench.registry import TASKS
from tests.unit.tiny_models import context

EPSILON, DELTA = 1.0, 1e-5
NOISES = pytest.mark.parametrize(("share", "is_caught"), [(1.0, False), (0.1, True)])


@pytest.fixture(scope="module")
def pool() -> Pool:
    plugin = TASKS.get("agnews")
    return draw_pool(load_task(plugin(plugin.Config()), "standin", None), 500, 300)


def histogram(pool: Pool, members: LabelledText, seed: int, share: float) -> DistilledSet:
    """Releases the candidates that private rows voted for by noisy votes: each has 1 if it is a row, else almost always 0."""
    oracle = PrivateOracle(members, EPSILON, DELTA, group=1, noise_only=False, ctx=context(seed))
    oracle.allocate(Query("votes"))
    oracle.ledger.noise = {k: replace(m, noise=m.noise * share) for k, m in oracle.ledger.noise.items()}
    votes_CM = oracle.votes("votes", oracle.embed(pool.rows))
    kept = np.flatnonzero(votes_CM[pool.rows.labels_N, np.arange(len(pool.rows))] > 0.5)
    return DistilledSet.from_texts(pool.rows.take(kept).fields, pool.rows.labels_N[kept])


@NOISES
def test_the_consistency_check_of_an_audit_refutes_a_histogram_with_a_tenth_of_its_noise(pool, share, is_caught):
    runs = [Released(histogram(pool, pool.members(run), run, share), pool.members(run)) for run in range(4)]
    game = Audit(
        pool=pool,
        runs=runs,
        null=None,
        attacks=TextAttacks(pool.rows, pool.auxiliary, None),
        members_SG=np.array([pool.membership_mask(run) for run in range(4)]),
        claim=(EPSILON, DELTA),
    )
    more: dict[str, Any] = {"audit_version": 1, "settings": {"name": "text"}, "games": ("text",), "set_sha256s": ()}
    found = AuditResult.model_validate({**game.evaluate(), **more})
    assert (found.epsilon_lower > EPSILON) is is_caught, found.epsilon_lower


class Canaries(RowModel):
    """One weight for each row, and a loss whose gradient is that weight alone: the strongest canaries that clipping lets through."""

    def __init__(self, n_rows: int) -> None:
        self.module = nn.Embedding(n_rows, 1)
        nn.init.zeros_(self.module.weight)

    def encode(self, rows: LabelledText) -> dict[str, torch.Tensor]:
        return {"which": torch.tensor([int(text) for text in rows.fields["text"]])}

    def losses(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return -10 * self.module(batch["which"])[:, 0]


@NOISES
def test_canaries_refute_training_with_a_tenth_of_its_noise(share, is_caught):
    n_coins = 2_000
    member_R = np.random.default_rng(0).random(n_coins) < 0.5
    which = np.flatnonzero(member_R)
    rows = LabelledText({"text": [str(i) for i in which]}, np.zeros(len(which), dtype=np.int64), ("all",), which)
    plan = Mechanism("sampled-gaussian", 1.0, 0.1, 20)
    mechanism = replace(plan, noise=share * scale_for((plan,), EPSILON, DELTA))
    model = Canaries(n_coins)
    train_rows(model, rows, TrainingOptions(lr=1e-3), mechanism=mechanism, noise=np.random.default_rng(1))
    moved_R = model.module.weight.detach().numpy()[:, 0]
    order = np.argsort(moved_R)
    ends = n_coins // 10
    right = int(member_R[order[-ends:]].sum() + (~member_R[order[:ends]]).sum())
    bound = epsilon_lower(2 * ends, right, 0.05, DELTA, n_coins)
    assert (bound > EPSILON) is is_caught, bound
