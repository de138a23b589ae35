"""Backend of the task's own decoder: it knows classes and how texts go on, and no instructions, so it goes by what a request is after.

- Texts that should hold words, or have a length: the best of several draws, most of which begin with one of the words.
- A draft to be refined: the likeliest of the draft and of other endings of its first half.
- A class to be named: the one under which the text is likeliest.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from tdbench.bench.canonical import seed_from
from tdbench.bench.card import TASK_LM
from tdbench.bench.data.text import LabelledText
from tdbench.bench.matching.initialisation import text_of, words_of
from tdbench.bench.models.llm.access import ModelName, Resources
from tdbench.bench.models.llm.client import Failure, GenerationSpec, Reply, Request, Sampling
from tdbench.bench.models.vocabulary import beginning

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from tdbench.bench.matching.source import SourceModel
    from tdbench.bench.models.llm.client import OnReply
    from tdbench.bench.models.task_lm import TaskLM

    Words = list[tuple[np.ndarray, ...]]

TRIES = 4
"""Draws for each text where one is chosen."""
KEPT_FRAC = 0.5
"""Share of a draft's tokens that every other ending begins with."""
LENGTH_PRICE = 2.0
"""What being off by the whole wanted length costs, in words that are not mentioned."""


class TaskLMName(ModelName):
    """`task-lm`: the decoder that is trained on the task's own train split."""

    prefix = spelling = TASK_LM
    reads = ("source", "lm")

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Reads the one name."""
        return cls(text) if text == TASK_LM else None

    @property
    def text(self) -> str:
        """The name."""
        return TASK_LM

    def open(self, resources: Resources) -> TaskLMBackend:
        """Returns a backend of the decoder."""
        lm, source = resources.task_lm()
        return TaskLMBackend(lm, source, resources.field_names, resources.label_names)


class TaskLMBackend:
    """The task's own decoder.

    Args:
        lm: The decoder.
        source: Spells its tokens.
        field_names: The task's text fields.
        label_names: Its classes.
    """

    supports_chat, reads_spec = False, True

    def __init__(self, lm: TaskLM, source: SourceModel, field_names: Sequence[str], label_names: Sequence[str]) -> None:
        self._lm, self._source = lm, source
        self._fields, self._labels = list(field_names), list(label_names)

    @property
    def backend_id(self) -> dict[str, Any]:
        """Its replies are never kept: the decoder is, and draws the same again."""
        return {"kind": "task-lm", "reads_wanted": True}

    def answer(
        self, requests: Sequence[Request], sampling: Sampling, seeds: Sequence[int], on_reply: OnReply
    ) -> dict[int, Failure]:
        """Answers all requests of a kind together."""
        for kind, work in (("write", self._write), ("refine", self._refine), ("classify", self._classify)):
            places = [i for i, request in enumerate(requests) if _wanted(request).kind == kind]
            if not places:
                continue
            started, cpu = time.perf_counter(), time.process_time()
            replies = work(
                [_wanted(requests[i]) for i in places],
                sampling,
                seed_from("task-lm", kind, *(seeds[i] for i in places)),
            )
            share = [(time.perf_counter() - started) / len(places), (time.process_time() - cpu) / len(places)]
            for place, (text, n_tokens) in zip(places, replies, strict=True):
                on_reply(
                    place,
                    Reply(text=text, finish="stop", tokens_in=1, tokens_out=n_tokens, wall_s=share[0], cpu_s=share[1]),
                )
        return {}

    def _write(self, wanted: list[GenerationSpec], sampling: Sampling, seed: int) -> list[tuple[str, int]]:
        tries = [TRIES if one.mentions or one.n_words else 1 for one in wanted]
        labels = np.repeat([one.label for one in wanted], [one.count * n for one, n in zip(wanted, tries, strict=True)])
        begun = [
            self._begun(one, draw)
            for one, n in zip(wanted, tries, strict=True)
            for _ in range(one.count)
            for draw in range(n)
        ]
        drawn = self._draw(labels, sampling, seed, begun)
        texts = self._spelt(drawn)
        replies, start = [], 0
        for one, n in zip(wanted, tries, strict=True):
            kept = []
            for _ in range(one.count):
                kept.append(min(range(start, start + n), key=lambda i: _distance(" ".join(texts[i]), one)))
                start += n
            replies.append(self._reply([texts[i] for i in kept], [drawn[i] for i in kept]))
        return replies

    def _begun(self, wanted: GenerationSpec, draw: int) -> tuple[np.ndarray, ...]:
        """Returns what a draw begins with: one of the words that it should hold, but for the first draw."""
        if not wanted.mentions or draw == 0:
            return ()
        word = wanted.mentions[(draw - 1) % len(wanted.mentions)]
        return self._read([(word, *[""] * (len(self._fields) - 1))], np.zeros(1, dtype=np.int64))[0][:1]

    def _refine(self, wanted: list[GenerationSpec], sampling: Sampling, seed: int) -> list[tuple[str, int]]:
        labels = np.array([one.label for one in wanted])
        drafts = self._read([one.draft for one in wanted], labels)
        begun = [beginning(parts, max(1, round(sum(map(len, parts)) * KEPT_FRAC))) for parts in drafts]
        drawn = self._draw(np.repeat(labels, TRIES), sampling, seed, [one for one in begun for _ in range(TRIES)])
        replies = []
        for b, draft in enumerate(drafts):
            endings = [draft, *drawn[b * TRIES : (b + 1) * TRIES]]
            likely = self._lm.nll(endings, np.repeat(labels[b], len(endings)))
            best = endings[int(np.nanargmin(likely))]
            replies.append(self._reply(self._spelt([best]), [best]))
        return replies

    def _classify(self, wanted: list[GenerationSpec], _sampling: Sampling, _seed: int) -> list[tuple[str, int]]:
        texts = self._read([one.draft for one in wanted], np.zeros(len(wanted), dtype=np.int64))
        nll_CN = [self._lm.nll(texts, np.full(len(texts), label)) for label in range(len(self._labels))]
        return [(self._labels[best], 1) for best in np.argmin(nll_CN, axis=0)]

    def _draw(self, labels: np.ndarray, sampling: Sampling, seed: int, begun: Words | None = None) -> Words:
        return self._lm.sample(
            labels, len(self._fields), seed, top_p=sampling.top_p, begun=begun, temperature=sampling.temperature
        )

    def _read(self, texts: Sequence[tuple[str, ...]], labels: np.ndarray) -> Words:
        fields = dict(zip(self._fields, map(list, zip(*texts, strict=True)), strict=True))
        return words_of(self._source, LabelledText(fields, labels, tuple(self._labels), np.arange(len(texts))))

    def _spelt(self, words: Words) -> list[tuple[str, ...]]:
        return list(zip(*text_of(self._source, self._fields, words).values(), strict=True))

    def _reply(self, texts: Sequence[tuple[str, ...]], words: Words) -> tuple[str, int]:
        items = [dict(zip(self._fields, text, strict=True)) for text in texts]
        return json.dumps(items, ensure_ascii=False), sum(len(part) for parts in words for part in parts)


def _wanted(request: Request) -> GenerationSpec:
    return request.wanted or GenerationSpec()


def _distance(text: str, wanted: GenerationSpec) -> float:
    """Returns how many of the wanted words a text lacks, and how far its length is off."""
    words = text.lower().split()
    lacking = sum(mention.lower() not in text.lower() for mention in wanted.mentions)
    off = abs(len(words) - wanted.n_words) / wanted.n_words if wanted.n_words else 0.0
    return lacking + LENGTH_PRICE * off
