"""What decides the ids and seeds of stages. Plans derive them, and checks of others' records derive them again."""

from __future__ import annotations

from typing import Any

from tdbench.bench.canonical import content_id, seed_from
from tdbench.bench.record import Cell, Stage


def set_id(cell: Cell, stage: Stage = "distil") -> str:
    """Returns the id of a set: the hash of its cell, in which the data stand by their fingerprint."""
    return content_id({"stage": stage, **cell.model_dump(mode="json", exclude={"task_options", "options"})})


def train_id(
    distil_id: str,
    learner: dict[str, Any],
    seed_index: int,
    *,
    protocol: str,
    custom: str | None,
    test: str,
    engine_numerics: int,
) -> str:
    """Returns the id of a training.

    Args:
        distil_id: Id of its set.
        learner: Everything that decides the learner's numbers.
        seed_index: Which training of the set it is.
        protocol: Name of the protocol.
        custom: Hash of the protocol where it is not the published one of its name, else None.
        test: Fingerprint of the test rows.
        engine_numerics: Version of the engine's numbers.
    """
    return content_id(
        {
            "stage": "train",
            "distil": distil_id,
            "learner": learner,
            "seed_index": seed_index,
            "protocol": protocol,
            "custom": custom,
            "test": test,
            "engine_numerics": engine_numerics,
        }
    )


def learner_seed(set_index: int, seed_index: int) -> int:
    """Returns the seed of a training."""
    return seed_from("learner", set_index, seed_index)
