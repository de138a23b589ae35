"""Replaces the tokens of texts, one at a time, by others that serve an objective better and that a language model finds likely.

A coordinate descent over words: what it returns is text at every moment, so nothing is lost when vectors are turned into words. Candidates
for a place are the tokens that a language model expects there and, of those, the ones that the objective's gradient with respect to the
token vector points to (HotFlip, Ebrahimi et al., 2018); each is then read by the learner. Shapes: S texts, P proposals, L places, U pieces,
E width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from tdbench.bench.matching.initialisation import vectors_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tdbench.bench.matching.source import SourceModel
    from tdbench.bench.models.task_lm import TaskLM

    Parts = tuple[NDArray[np.int64], ...]


@dataclass(frozen=True)
class ReplaceOptions:
    """How long and how freely.

    Args:
        rounds: Places tried in every text.
        proposals: Tokens read for each.
        likely: Tokens that the language model expects most at a place, of which the proposals are taken.
        fluency: Price of a nat per token of the text's negative log-likelihood, in units of the objective.
    """

    rounds: int
    proposals: int
    likely: int
    fluency: float


def replace_tokens(
    source: SourceModel,
    lm: TaskLM,
    words: list[Parts],
    labels_S: NDArray[np.int64],
    *,
    cost: Callable[[torch.Tensor, NDArray[np.int64]], torch.Tensor],
    options: ReplaceOptions,
    rng: np.random.Generator,
    tick: Callable[[float], None] = lambda _: None,
) -> tuple[list[Parts], list[float]]:
    """Lowers every text's own cost.

    Args:
        source: The frozen learner.
        lm: A language model over the same tokens.
        words: S texts.
        labels_S: Their classes.
        cost: (N, D) head inputs and the (N,) text each stands for -> (N,) costs; differentiable.
        options: How long and how freely.
        rng: Order of the places.
        tick: Receives the finished fraction.

    Returns:
        The texts, and their mean cost, fluency included, after every round; it never rises.
    """
    words = list(words)
    orders, curve = [rng.permutation(sum(len(p) for p in parts)) for parts in words], []
    for turn in range(options.rounds):
        places_S = np.array([order[turn % len(order)] for order in orders])
        slope_SE = _slopes(source, words, places_S, cost)
        logits_SU = lm.expected(words, labels_S, places_S)[:, : lm.vocabulary.n_pieces]
        tried_SP = _proposals(source, lm.vocabulary.pieces_U, logits_SU, slope_SE, options)
        # As they are, and with every proposal.
        of_N = np.repeat(np.arange(len(words)), 1 + tried_SP.shape[1])
        texts = [
            text
            for words_of_s, place, pieces in zip(words, places_S, tried_SP, strict=True)
            for text in (words_of_s, *(_with(words_of_s, int(place), int(piece)) for piece in pieces))
        ]
        with torch.no_grad():
            costs_N = cost(source.features(source.special_tokens.around(texts)), of_N).double().cpu().numpy()
        if options.fluency:
            costs_N = costs_N + options.fluency * lm.nll(texts, labels_S[of_N])
        best_S = costs_N.reshape(len(words), -1).argmin(1)
        words = [texts[s * (1 + tried_SP.shape[1]) + best] for s, best in enumerate(best_S)]
        curve.append(float(costs_N.reshape(len(words), -1).min(1).mean()))
        tick((turn + 1) / options.rounds)
    return words, curve


def _slopes(
    source: SourceModel, words: list[Parts], places_S: NDArray[np.int64], cost: Callable[..., torch.Tensor]
) -> torch.Tensor:
    """Returns the (S, E) gradients of the texts' costs with respect to the vectors at the places."""
    soft = vectors_of(source, words)
    encoded = source.special_tokens.around_vectors(soft, len(source.table_VE))
    x_SE = torch.from_numpy(soft.vectors_SD).to(source.device).requires_grad_(True)
    with torch.enable_grad():
        cost(source.soft_features(encoded, x_SE), np.arange(len(words))).sum().backward()
    assert x_SE.grad is not None
    starts = np.cumsum([0, *(sum(len(p) for p in parts) for parts in words)])[:-1]
    return x_SE.grad[torch.from_numpy(starts + places_S)]


def _proposals(
    source: SourceModel,
    pieces_U: NDArray[np.int64],
    logits_SU: torch.Tensor,
    slope_SE: torch.Tensor,
    options: ReplaceOptions,
) -> NDArray[np.int64]:
    """Returns the (S, P) tokenizer's ids to be tried: likely pieces towards whose vectors the cost falls steepest."""
    pieces = torch.from_numpy(pieces_U).to(source.device)
    special = np.isin(pieces_U, source.tokenizer.inner.all_special_ids)
    logits_SU = logits_SU.masked_fill(torch.from_numpy(special).to(logits_SU.device), -torch.inf)
    likely_SK = logits_SU.topk(min(options.likely, len(pieces)), dim=1).indices
    gain_SK = -torch.einsum("se,ske->sk", slope_SE, source.table_VE[pieces[likely_SK]])
    best_SP = gain_SK.topk(min(options.proposals, likely_SK.shape[1]), dim=1).indices
    return pieces[likely_SK.gather(1, best_SP)].cpu().numpy()


def _with(parts: Parts, place: int, piece: int) -> Parts:
    made = [part.copy() for part in parts]
    for part in made:
        if place < len(part):
            part[place] = piece
            break
        place -= len(part)
    return tuple(made)
