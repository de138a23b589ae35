"""Training of the task language model, once for the same rows. Shapes: N train rows, E width."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tdbench.bench.canonical import content_id
from tdbench.bench.cost import CostMeter
from tdbench.bench.kept import kept
from tdbench.bench.matching.options import TASK_LM_VERSION
from tdbench.bench.models.task_lm import TaskLM, Vocabulary, mean_loss, summed_losses
from tdbench.bench.training.dropout import MaskSource, use_cheap_dropout
from tdbench.bench.training.torch_learner import fork_rng

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    Parts = tuple[NDArray[np.int64], ...]

_HELD_OUT_FRAC, _HELD_OUT_MAX = 0.05, 500
_POOL = 1_600
"""Texts among which those of similar length are looked for."""


@dataclass(frozen=True)
class TaskLMOptions:
    """Size and training; GPT-2's architecture.

    Args:
        layers: Decoder layers.
        heads: Attention heads.
        batch_tokens: About so many tokens a step, marks included; so a step costs much the same whatever the task.
        steps: Most steps.
        epochs: Most passes, counted in tokens; small tasks stop there.
        lr: Peak learning rate of AdamW, cosine, 10 % warm-up.
        dropout: Everywhere.
    """

    layers: int = 4
    heads: int = 6
    batch_tokens: int = 512
    steps: int = 1_000
    epochs: float = 4.0
    lr: float = 1e-3
    dropout: float = 0.1


def train_task_lm(
    texts: list[Parts],
    labels: NDArray[np.int64],
    table_VE: torch.Tensor,
    options: TaskLMOptions,
    *,
    seed: int,
    device: str,
    tick: Callable[[float], None] = lambda _: None,
) -> TaskLM:
    """Trains a decoder; its token table starts from pretrained word-piece vectors.

    Args:
        texts: Token ids of the N train rows, field by field.
        labels: Their classes.
        table_VE: The vectors.
        options: Size and training.
        seed: Seed of initialisation, batches, dropout and of the held-out rows.
        device: `cpu` or `cuda`.
        tick: Receives the finished fraction.
    """
    vocabulary = Vocabulary(texts, int(labels.max()) + 1)
    rows = [vocabulary.encode(parts, label) for parts, label in zip(texts, labels, strict=True)]
    max_length = max(map(len, rows))
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))
    n_held = min(_HELD_OUT_MAX, int(len(rows) * _HELD_OUT_FRAC))
    held, used = order[:n_held], order[n_held:]
    lengths = [len(row) for row in rows]
    used_tokens = sum(lengths[i] for i in used)
    steps = max(1, min(options.steps, math.ceil(options.epochs * used_tokens / options.batch_tokens)))
    with fork_rng(device):
        torch.manual_seed(seed % 2**63)
        model = _new_model(vocabulary, table_VE, max_length, options).to(device).train()
        if device == "cpu":
            use_cheap_dropout(model, MaskSource(seed % 2**63))
        optimiser = torch.optim.AdamW(model.parameters(), lr=options.lr, weight_decay=0.01, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps))
        for step, batch in enumerate(_shuffled(used, lengths, options.batch_tokens, steps, rng)):
            mean_loss(model, [rows[i] for i in batch], device).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()
            tick((step + 1) / steps)
    return TaskLM(vocabulary, model, max_length, device, perplexity=_perplexity(model, [rows[i] for i in held], device))


def _new_model(vocabulary: Vocabulary, table_VE: torch.Tensor, max_length: int, options: TaskLMOptions) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=len(vocabulary),
        n_positions=max_length,
        n_embd=table_VE.shape[1],
        n_layer=options.layers,
        n_head=options.heads,
        resid_pdrop=options.dropout,
        embd_pdrop=options.dropout,
        attn_pdrop=options.dropout,
        activation_function="gelu_pytorch_tanh",  # GPT-2's, in one kernel
        bos_token_id=None,
        eos_token_id=vocabulary.end,
    )
    model = GPT2LMHeadModel(config)
    model.set_attn_implementation("eager")  # on short texts faster than what a CPU fuses, dropout and all
    pieces = torch.from_numpy(vocabulary.pieces_U)
    with torch.no_grad():
        known = table_VE.cpu()[pieces]
        # GPT-2's own scale, so that the tied head starts with scores near zero.
        model.transformer.wte.weight[: vocabulary.n_pieces] = known * (0.02 / known.std())
    return model


def _rate(step: int, steps: int) -> float:
    warmup = max(1, steps // 10)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _shuffled(
    used: NDArray[np.int64], lengths: list[int], batch_tokens: int, steps: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Cuts epochs into batches of about so many tokens, each of texts of similar length, in random order."""
    made: list[NDArray[np.int64]] = []
    while len(made) < steps:
        order = rng.permutation(used)
        for start in range(0, len(order), _POOL):
            pool = order[start : start + _POOL]
            pool = pool[np.argsort([lengths[i] for i in pool], kind="stable")]
            places = np.cumsum([lengths[i] for i in pool]) // batch_tokens
            batches = np.split(pool, np.flatnonzero(np.diff(places)) + 1)
            made += [batches[i] for i in rng.permutation(len(batches))]
    return made[:steps]


def _perplexity(model: Any, rows: list[list[int]], device: str) -> float:
    if not rows:
        return float("nan")
    sums_N, counts_N = summed_losses(model.eval(), rows, device)
    return math.exp(sums_N.sum() / counts_N.sum())


def cached_task_lm(
    texts: list[Parts],
    labels: NDArray[np.int64],
    table_VE: torch.Tensor,
    options: TaskLMOptions,
    *,
    seed: int,
    device: str,
    cache: Path,
    rows_id: str,
    cost: CostMeter,
    tick: Callable[[float], None] = lambda _: None,
) -> TaskLM:
    """Returns the model of these very rows, trained once; a hit charges the cold cost.

    Args:
        texts: Token ids of the train rows, field by field.
        labels: Their classes.
        table_VE: Word-piece vectors to start from.
        options: Size and training.
        seed: Seed.
        device: `cpu` or `cuda`.
        cache: Cache folder, shared by concurrent runs.
        rows_id: Fingerprint of the rows and of the tokenizer.
        cost: Cost meter.
        tick: Receives the finished fraction.
    """
    key = content_id(
        {"rows": rows_id, "options": asdict(options), "seed": seed, "device": device, "version": TASK_LM_VERSION}
    )

    vocabulary = Vocabulary(texts, int(labels.max()) + 1)

    def train() -> tuple[nn.Module, dict[str, Any]]:
        made = train_task_lm(texts, labels, table_VE, options, seed=seed, device=device, tick=tick)
        return made.model, {"max_length": made.max_length, "perplexity": made.perplexity}

    def load(path: Path, facts: dict[str, Any]) -> nn.Module:
        return _filled(_new_model(vocabulary, table_VE, int(facts["max_length"]), options).to(device), path)

    weights, entry = cache / key / "model.safetensors", cache / key / "entry.json"
    model, facts = kept(weights, entry, cost, "language model", make=train, save=_save, load=load)
    return TaskLM(vocabulary, model, int(facts["max_length"]), device, perplexity=float(facts["perplexity"]))


def _save(model: nn.Module, path: Path) -> None:
    from safetensors.torch import save_model

    save_model(model, str(path))


def _filled(model: nn.Module, path: Path) -> nn.Module:
    from safetensors.torch import load_model

    load_model(model, path)
    return model
