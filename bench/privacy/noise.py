"""Where noise comes from: a stream of its own for every set, or one that nobody can repeat."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

import numpy as np

from tdbench.bench.canonical import canonical_json

SECRET_VARIABLE = "TDBENCH_NOISE_SECRET"  # noqa: S105 - a name
"""Names a text that only the maker of a set knows; it enters the seed of all noise."""
_PUBLIC = (
    "NumPy PCG64; its seed follows from the run's options, so that the run can be repeated and the noise be taken off: the promise is the "
    "mechanism's, not these files'"
)
_SECRET = "NumPy PCG64 (not cryptographic), its seed made with a secret that is not kept"  # noqa: S105 - a description


@dataclass(frozen=True)
class Noise:
    """A random stream and what there is to say about it."""

    stream: np.random.Generator
    description: str


def noise_for(name: str, seed: int) -> Noise:
    """Returns the noise of one set: for another method, option, budget or set it is another stream, or differences would show the data.

    Args:
        name: Everything that tells the set from others, and nothing that depends on private rows.
        seed: Seed of the set.
    """
    secret = os.environ.get(SECRET_VARIABLE, "")
    digest = hashlib.sha256(canonical_json(["noise", name, seed, secret]).encode()).digest()
    stream = np.random.Generator(np.random.PCG64(np.random.SeedSequence(int.from_bytes(digest))))
    return Noise(stream, _SECRET if secret else _PUBLIC)
