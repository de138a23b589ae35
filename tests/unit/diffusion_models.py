"""Small diffusion models of text over small public texts."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tdbench.bench.context import Source
from tdbench.bench.models.public_rows import PublicRows, public_rows
from tdbench.bench.testing.private import small_pool
from tdbench.bench.testing.texts import small_task
from tdbench.bench.testing.tiny import MAX_LENGTH, tiny_learner
from tdbench.methods.dp_diffusion.alphabet import Alphabet
from tdbench.methods.dp_diffusion.gaussian import GaussianDiffusion
from tdbench.methods.dp_diffusion.masked import MaskedDiffusion
from tdbench.methods.dp_diffusion.network import DenoiserShape
from tests.unit.tiny_models import context

KIND, LENGTH, LATENT = "two classes", 12, 16
ROWS = small_task(KIND).train
SHAPE = DenoiserShape(layers=2, width=16, heads=2, latent=LATENT, length=LENGTH)


@cache
def public_texts() -> PublicRows:
    """Public texts, under classes whose names are known words."""
    folder = Path(tempfile.mkdtemp())
    ctx = replace(
        context(),
        public_pool=small_pool(KIND),
        make_source=lambda: Source("tiny", tiny_learner(), MAX_LENGTH, folder),
    )
    found = public_rows(ctx, tuple(ROWS.fields), ROWS.label_names, 300)
    pieces = np.unique(np.concatenate([part for parts in found.words for part in parts]))
    names = [found.source.tokenizer.inner.decode([piece]) for piece in pieces[-40:]]
    known = [name for name in names if name.isalpha()][:2]
    return replace(found, rows=replace(found.rows, label_names=tuple(known)))


@cache
def small_alphabet() -> Alphabet:
    return Alphabet(public_texts(), "a {label} text", LATENT, LENGTH)


def masked(public: Any, alphabet: Alphabet, draws: int = 2, **shape: Any) -> MaskedDiffusion:
    return MaskedDiffusion(alphabet, public.source, replace(SHAPE, timed=False, **shape), 2, draws)


def gaussian(public: Any, alphabet: Alphabet, draws: int = 2, shape: Any = None, **options: Any) -> GaussianDiffusion:
    return GaussianDiffusion(alphabet, public.source, replace(SHAPE, **(shape or {})), 2, draws, steps=50, **options)


MAKERS = {
    "dp_mdlm": masked,
    "dp_diffuseq": gaussian,
    "dp_seqdiffuseq": lambda *a, **o: gaussian(*a, shape={"encoder_layers": 1, "self_conditioned": True}, **o),
    "dp_genie": lambda *a, **o: gaussian(*a, shape={"encoder_layers": 2}, repairs=True, **o),
}


def moved(model: Any) -> Any:
    """Classes that differ, so that no gradient vanishes."""
    with torch.no_grad():
        for weight in model.denoiser.class_weights():
            weight.normal_(0, 0.3)
    return model
