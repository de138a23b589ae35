"""Private methods: a promise is worth what its grounds are, and every way around the oracle is found."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tdbench.api import DistilledSet, Method, MethodCard, PrivateConfig, PrivateMethod, Query, Skip
from tdbench.bench.context import Source
from tdbench.bench.cost import CostMeter
from tdbench.bench.errors import PluginError
from tdbench.bench.privacy.private_method import release_from
from tdbench.bench.record import PrivacyStatement
from tdbench.bench.registry import METHODS
from tdbench.bench.testing import check
from tdbench.bench.testing.private import HashedEncoder, other_rows, small_pool
from tdbench.bench.testing.texts import small_task
from tdbench.bench.testing.tiny import MAX_LENGTH, tiny_generator, tiny_learner
from tests.unit.small_options import small
from tests.unit.tiny_models import context

CARD = MethodCard(summary="s", family="private", output="text", reads=("encoder", "public"), private=True)
PRIVATE = [name for name in METHODS.names() if METHODS.get(name).card.private]


class Votes(PrivateMethod):
    """The public texts with the most votes."""

    name = "votes"
    card = CARD

    def supports(self, task: Any, budget: Any) -> Skip | None:
        return Skip("needs a number of texts") if budget.per_class is None else None

    def release(self, oracle: Any, budget: Any, ctx: Any) -> DistilledSet:
        rows = ctx.public().rows(oracle.field_names, ctx.rng("public").permutation(40))
        votes_CM = np.zeros((oracle.n_classes, len(rows)))
        if not oracle.zero_budget:
            oracle.allocate(Query("votes"))
            votes_CM = oracle.votes("votes", oracle.embed(rows))
        best = np.argsort(-votes_CM, axis=1, kind="stable")[:, : budget.per_class]
        labels = np.repeat(np.arange(oracle.n_classes), budget.per_class)
        return self.made(oracle, rows.take(best.ravel()).fields, labels)

    def made(self, oracle: Any, fields: dict[str, list[str]], labels: Any) -> DistilledSet:
        return DistilledSet.from_texts(fields, labels)


class Lengths(Votes):
    """Cuts its texts to the mean length of the private ones, which it has looked up."""

    def made(self, oracle: Any, fields: dict[str, list[str]], labels: Any) -> DistilledSet:
        texts = oracle._rows.open().joined()
        length = round(float(np.mean([len(text.split()) for text in texts])))
        cut = {name: [" ".join(text.split()[:length]) for text in column] for name, column in fields.items()}
        return super().made(oracle, cut, labels)


class Counts(Votes):
    """Leaves out a text of the class that has the fewest private rows."""

    def made(self, oracle: Any, fields: dict[str, list[str]], labels: Any) -> DistilledSet:
        rarest = np.bincount(oracle._rows.open().labels_N, minlength=oracle.n_classes).argmin()
        kept = np.delete(np.arange(len(labels)), np.flatnonzero(labels == rarest)[0])
        return super().made(oracle, {n: [c[i] for i in kept] for n, c in fields.items()}, labels[kept])


class Vocabulary(Votes):
    """Leaves out words that no private text has."""

    def made(self, oracle: Any, fields: dict[str, list[str]], labels: Any) -> DistilledSet:
        known = set(" ".join(oracle._rows.open().joined()).split())
        kept = {n: [" ".join(w for w in t.split() if w in known) or "x" for t in c] for n, c in fields.items()}
        return super().made(oracle, kept, labels)


class Majority(Votes):
    """Puts the class with the most private rows first."""

    def made(self, oracle: Any, fields: dict[str, list[str]], labels: Any) -> DistilledSet:
        first = np.bincount(oracle._rows.open().labels_N).argmax()
        order = np.argsort(labels != first, kind="stable")
        return super().made(oracle, {n: [c[i] for i in order] for n, c in fields.items()}, labels[order])


class Noted(Votes):
    """Notes how many words the private texts have."""

    def release(self, oracle: Any, budget: Any, ctx: Any) -> DistilledSet:
        ctx.diagnostics["n_words"] = sum(len(text.split()) for text in oracle._rows.open().joined())
        return super().release(oracle, budget, ctx)


class Curved(Votes):
    """Notes lengths as if they were a curve of its work."""

    def release(self, oracle: Any, budget: Any, ctx: Any) -> DistilledSet:
        ctx.curves["loss"] = [float(len(text)) for text in oracle._rows.open().joined()[:3]]
        return super().release(oracle, budget, ctx)


class Ignores(Votes):
    """Asks, and makes the set of something else."""

    def release(self, oracle: Any, budget: Any, ctx: Any) -> DistilledSet:
        super().release(oracle, budget, ctx)
        return Silent.release(self, oracle, budget, ctx)  # type: ignore[arg-type]


class Asks(Votes):
    """Asks for the rows themselves."""

    def made(self, oracle: Any, fields: dict[str, list[str]], labels: Any) -> DistilledSet:
        oracle.records("to see what they look like")
        return super().made(oracle, fields, labels)


class Silent(Votes):
    """Promises privacy for texts that have nothing to do with the rows."""

    def release(self, oracle: Any, budget: Any, ctx: Any) -> DistilledSet:
        rows = ctx.public().rows(oracle.field_names, ctx.rng("public").permutation(40))
        labels = np.repeat(np.arange(oracle.n_classes), budget.per_class)
        return self.made(oracle, rows.take(np.arange(len(labels))).fields, labels)


def test_a_private_method_that_keeps_to_its_oracle_conforms(failures):
    assert failures(Votes) == {}


@pytest.mark.parametrize("sneak", [Lengths, Counts, Vocabulary, Majority, Noted, Curved])
def test_what_was_read_behind_the_oracles_back_shows_when_every_answer_is_noise(failures, sneak):
    found = failures(sneak)
    assert any(name.startswith("with noise alone nothing depends on the rows") for name in found)
    assert any("past the oracle" in advice for advice in found.values())


def test_asking_for_the_rows_is_a_failure(failures):
    assert any(name.startswith("it reads no row outside of a mechanism") for name in failures(Asks))


@pytest.mark.parametrize("hollow", [Silent, Ignores])
def test_a_promise_about_nothing_is_a_failure(failures, hollow):
    assert any(name.startswith("its set depends on the answers") for name in failures(hollow))


def test_rows_cannot_be_handed_over():
    class Rows(Votes):
        def made(self, oracle: Any, fields: Any, labels: Any) -> DistilledSet:
            return DistilledSet.from_rows(oracle._rows.open(), np.arange(len(labels)))

    with pytest.raises(PluginError, match="hands over rows of the train split"):
        release(Rows())


def release(method: PrivateMethod, **options: Any) -> Any:
    from dataclasses import replace

    from tdbench.bench.budget import Budget

    cache = Path(tempfile.mkdtemp())
    ctx = replace(
        context(),
        public_pool=small_pool("two classes"),
        make_source=lambda: Source("tiny", tiny_learner(), MAX_LENGTH, cache),
    )
    configured = type(method)(method.config.model_copy(update=options))
    return release_from(configured, small_task("two classes").train, Budget("dpc2", per_class=2), ctx)


def test_the_statement_says_what_the_promise_rests_on():
    made = release(Votes(), epsilon=2.0)
    said = made.statement
    assert said.epsilon == 2.0
    assert 1.99 < said.epsilon_spent <= 2.0
    assert said.epsilon_check == pytest.approx(said.epsilon_spent, rel=0.02)
    assert said.delta == 1 / (10 * 240)
    assert (said.n_rows, said.group, said.unit, said.relation) == (
        240,
        1,
        "one row of the train split",
        "add or remove one",
    )
    assert [query.name for query in said.queries] == ["votes"]
    assert said.epsilon_of_sets[2] < said.epsilon_of_sets[5] < 5 * 2.0
    assert said.released == ("labels", "texts")
    assert "the promise is the mechanism's, not these files'" in said.noise


def test_a_raw_read_leaves_no_promise():
    said = release(Asks(), epsilon=2.0).statement
    assert (said.epsilon, said.epsilon_spent, said.epsilon_of_sets) == ("inf", None, {})
    assert said.raw_reads == ("to see what they look like",)
    with pytest.raises(ValidationError, match="nothing finite can have been spent"):
        PrivacyStatement.model_validate({**said.model_dump(), "epsilon_spent": 1.0})


def test_budgets_of_nothing_and_without_end():
    nothing, endless = release(Votes(), epsilon=0.0).statement, release(Votes(), epsilon="inf").statement
    assert (nothing.epsilon, nothing.epsilon_spent, nothing.queries) == (0.0, 0.0, ())
    assert (endless.epsilon, endless.epsilon_spent, endless.queries[0].noise_multiplier) == ("inf", None, 0.0)
    assert PrivateConfig(epsilon=float("inf")).epsilon == "inf"
    assert not PrivateConfig(epsilon="inf").reference
    assert PrivateConfig(epsilon=0).reference
    assert PrivateConfig(oracle="noise-only").reference


def test_a_promise_below_what_was_spent_is_no_valid_statement():
    said = release(Votes(), epsilon=2.0).statement.model_dump()
    with pytest.raises(ValidationError, match="is promised and"):
        PrivacyStatement.model_validate({**said, "epsilon": 1.0})
    with pytest.raises(ValidationError, match="outside of any mechanism"):
        PrivacyStatement.model_validate({**said, "raw_reads": ("x",)})
    assert PrivacyStatement.model_validate_json(release(Votes()).statement.model_dump_json()).epsilon == 4.0


def test_a_group_needs_more_noise():
    one, three = (release(Votes(), epsilon=2.0, group=group).statement for group in (1, 3))
    assert three.queries[0].noise_multiplier == pytest.approx(3 * one.queries[0].noise_multiplier, rel=0.01)
    assert three.epsilon_check is None
    assert [len(said.accountants) for said in (one, three)] == [2, 1]


def test_a_card_must_say_that_a_method_is_private():
    class Quiet(Votes):
        card = MethodCard(summary="s", family="f", output="text")

    class Loose(Votes):
        Config = type("Config", (), {})

    class Open(Votes):
        def distil(self, real: Any, budget: Any, ctx: Any) -> DistilledSet:
            return DistilledSet.from_rows(real, [0])

    class Claims(Method):
        name = "claims"
        card = MethodCard(summary="s", family="f", private=True)

        def distil(self, real: Any, budget: Any, ctx: Any) -> DistilledSet:
            return DistilledSet.from_rows(real, [0])

    assert "set private=True" in str(Quiet.check_class())
    assert "implement release" in str(Open.check_class())
    assert "subclass PrivateMethod" in str(Claims.check_class())
    assert "Config" in str(Loose.check_class())
    assert not check(Quiet).ok


def test_other_rows_share_nothing_with_the_first_ones():
    rows = small_task("pairs").train
    other = other_rows(rows)
    assert len(other) == len(rows)
    assert not set(other.joined()) & set(rows.joined())
    assert np.bincount(other.labels_N).tolist() != np.bincount(rows.labels_N).tolist()
    own, others = ({len(text.split()) for text in one.joined()} for one in (rows, other))
    assert not own & others
    two = small_task("two classes").train
    counts = [np.bincount(one.labels_N, minlength=2) for one in (two, other_rows(two))]
    assert counts[0].argmax() != counts[1].argmax()
    assert not np.allclose(
        HashedEncoder().embed(rows, CostMeter()).mean(0), HashedEncoder().embed(other, CostMeter()).mean(0)
    )


@pytest.mark.parametrize("name", PRIVATE)
def test_more_noise_is_planned_for_a_smaller_budget(name):
    options = {"lm": tiny_generator()} if name == "dp_lm_lora" else {}
    noise = [
        sum(query.noise_multiplier for query in release(small(name, **options), epsilon=epsilon).statement.queries)
        for epsilon in (0.5, 2.0, 8.0)
    ]
    assert noise[0] > noise[1] > noise[2] > 0
