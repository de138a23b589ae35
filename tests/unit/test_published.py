"""Published protocols and audits: what makes one custom, and that none changes."""

from __future__ import annotations

from functools import cache

import pytest

from tdbench.bench import config
from tdbench.bench.config import is_custom
from tdbench.bench.errors import UsageError
from tests.unit.test_config import files, one


@cache
def protocol_hashes() -> dict[str, str]:
    return {name: one(f"protocol={name}").protocol.sha256 for name in files("protocol")}


@pytest.fixture
def published(monkeypatch):
    """Publishes every protocol as it is now."""
    monkeypatch.setattr(config, "locked", {"protocol": protocol_hashes()}.__getitem__)


@pytest.mark.parametrize("name", files("protocol"))
def test_a_published_protocol_is_not_custom_whatever_else_is_overridden(published, name):
    run = one(
        f"protocol={name}", "seeds=7", "sets=2", "learners=[bow-logreg]", "runtime.shard=1/2", "data.kind=standin"
    )
    assert not is_custom(run.protocol)
    assert not is_custom(one(f"protocol={name}", f"protocol.steps={run.protocol.steps}").protocol)


@pytest.mark.parametrize(
    "override",
    ["steps=7", "max_length=8", "lr.minilm=2e-4", "default_lr=0.1", "learners=[minilm]", "source=textcnn", "test_rows=9",
     "sets.seconds=2", "deterministic.seeds=2", "warmup_frac=0.1", "full.steps=3", "name=mine", "batch_size=8"],
)  # fmt: skip
def test_any_overridden_protocol_key_makes_the_protocol_custom(published, override):
    assert is_custom(one("protocol=lite-v1", f"protocol.{override}").protocol)


def test_a_protocol_that_was_never_published_is_custom(monkeypatch):
    monkeypatch.setattr(config, "locked", lambda _: {})
    assert is_custom(one().protocol)


@pytest.mark.parametrize("name", files("audit"))
def test_a_published_audit_never_changes(name):
    run = one(f"audit={name}")
    if run.audit.games:
        assert config.locked("audit")[name] == run.audit.sha256, "a published audit never changes: add another name"
        assert not config.is_custom_audit(run.audit)
    assert config.is_custom_audit(one(f"audit={name}", "audit.pool_rows=600").audit)


@pytest.mark.parametrize("runs", [3, 0])
def test_runs_of_an_audit_come_in_pairs(runs):
    with pytest.raises(UsageError, match=r"audit\.runs\.seconds: got"):
        one("audit=text", f"audit.runs.seconds={runs}")
