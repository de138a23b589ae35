"""The stand-in: a seeded grammar-based corpus with the schema of a real task, for machines that have no data.

A text is a chain of sentences. Each sentence is a frame whose slots are filled from the vocabulary of one subtopic of
one class, from vocabulary that all classes share, or from a stray class. A class has a few core words and hundreds of
others that follow a Zipf-Mandelbrot law, so that a few examples cover little of it. Some sentences are wholly about
another class (distractors), in reviews some class words are negated words of another class, and in the split `train` a
few labels are wrong. Every other split is free of label noise, so that its ceiling measures the text alone.

The vocabulary depends on the style, the number of classes and `material`, never on the seed or split: two seeds of one
schema are two samples of one language. The difficulty was set so that tf-idf with logistic regression scores about
.67 from 10 examples per class and .90 from 5,000 rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tdbench.bench.data import standin_lexicon as lex
from tdbench.bench.data import standin_words as words
from tdbench.bench.data.standin_pairs import MAX_RELATIONS, generate_pairs
from tdbench.bench.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

MIN_CLASSES, MAX_CLASSES = 2, 20
NOISY_SPLIT = "train"

# Words that a sentence draws of each kind, and the slots that show them.
_DRAWS = {"N": 3, "I": 2, "A": 2, "P": 2}
_SLOTS = (*(f"{shown}{i}" for kind, n in _DRAWS.items() for shown in lex.INFLECTED[kind] for i in range(n)), "K", "T")
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiouAEIOU])")


@dataclass(frozen=True)
class StandinSchema:
    """What a stand-in looks like.

    Attributes:
        text_fields: One or two field names. With two, the first holds the opening sentence and the second the rest;
            for style `pair` they are premise and hypothesis.
        label_names: 2 to 20 names; a label is the index of its name. Topics follow the index, not the name.
        style: Sentence frames and lengths. `review` puts negative material at the first class and positive at the
            last. `pair` needs two fields and two or three labels: `entailment`, `neutral` and `contradiction` in any
            order (other names are taken in this order), or entailed and not (a first name `not...` swaps them).
        label_noise_frac: Share of rows of the split `train` whose label is replaced by another; other splits have none.
        mean_words: Mean words per text, 5 to 1,000; None takes the style's (news 40, review 15, message 25).
            Longer texts are easier; lower the topic share, or raise the distractor share, to balance.
        topic_share_frac: Share of content words that bear a class; None takes the style's.
        distractor_share_frac: Share of sentences after the first that are about another class; None takes the style's.
        material: Picks another language of the same style, so that two tasks need not share one.

    Raises:
        UsageError: The combination cannot be generated.
    """

    text_fields: tuple[str, ...]
    label_names: tuple[str, ...]
    style: Literal["news", "review", "message", "pair"]
    label_noise_frac: float = 0.03
    mean_words: float | None = None
    topic_share_frac: float | None = None
    distractor_share_frac: float | None = None
    material: int = 0

    def __post_init__(self) -> None:
        fields, labels, styles = self.text_fields, self.label_names, (*_STYLES, "pair")
        shares = (self.topic_share_frac, self.distractor_share_frac)
        if self.style not in styles:
            raise UsageError(f"stand-in style is {self.style!r}; expected one of {', '.join(styles)}.")
        if len(fields) not in (1, 2) or len({*fields, "label", ""}) != len(fields) + 2:
            raise UsageError(f"stand-in text_fields are {fields!r}; expected one or two names other than 'label'.")
        if not MIN_CLASSES <= len(labels) <= MAX_CLASSES or len(set(labels)) != len(labels):
            raise UsageError(
                f"stand-in label_names are {labels!r}; expected {MIN_CLASSES} to {MAX_CLASSES} different names."
            )
        if self.style == "pair" and (len(fields) != 2 or len(labels) > MAX_RELATIONS):
            raise UsageError(
                f"stand-in style 'pair' has {len(fields)} text_fields and {len(labels)} label_names; "
                f"expected 2 fields and 2 to {MAX_RELATIONS} labels."
            )
        if self.style == "pair" and (self.mean_words, *shares) != (None, None, None):
            raise UsageError("stand-in style 'pair' has fixed frames; leave mean_words and the shares at None.")
        if not 0 <= self.label_noise_frac < 0.5:
            raise UsageError(f"stand-in label_noise_frac is {self.label_noise_frac}; expected 0 <= x < 0.5.")
        if any(share is not None and not 0 <= share <= 1 for share in shares):
            raise UsageError(f"stand-in topic and distractor shares are {shares}; expected fractions from 0 to 1.")
        if self.mean_words is not None and not 5 <= self.mean_words <= 1000:
            raise UsageError(f"stand-in mean_words is {self.mean_words}; expected 5 to 1000 words.")


@dataclass(frozen=True)
class _Style:
    """Frames, lengths in words and difficulty of a style; `kind_weight` scales the topic share per kind of word."""

    lead: tuple[str, ...]
    body: tuple[str, ...]
    aside: tuple[str, ...]
    mean_words: float
    lead_words: float
    body_words: float
    topic_share: float
    core_share: float
    distractor_share: float
    stray_share: float
    kind_weight: dict[str, float]
    negation_share: float = 0.0
    restart_every: int = 0  # clauses per sentence where frames are clauses
    zipf_exponent: float = 1.0
    zipf_shift: float = 2.0


_STYLES = {
    "news": _Style(
        lead=words.NEWS_LEAD,
        body=words.NEWS_BODY,
        aside=words.NEWS_ASIDE,
        mean_words=40,
        lead_words=6,
        body_words=18.5,
        topic_share=1.0,
        core_share=0.75,
        distractor_share=0.24,
        stray_share=0.09,
        kind_weight={"N": 1.0, "I": 0.7, "A": 0.7, "P": 1.0},
    ),
    "review": _Style(
        lead=words.REVIEW_LEAD,
        body=words.REVIEW_BODY,
        aside=words.REVIEW_ASIDE,
        mean_words=15,
        lead_words=7.5,
        body_words=7,
        topic_share=1.0,
        core_share=0.88,
        distractor_share=0.2,
        stray_share=0.1,
        kind_weight={"N": 0.5, "I": 1.0, "A": 1.0, "P": 0.2},
        negation_share=0.1,
        restart_every=3,
    ),
    "message": _Style(
        lead=words.MESSAGE_LEAD,
        body=words.MESSAGE_BODY,
        aside=words.MESSAGE_ASIDE,
        mean_words=25,
        lead_words=6,
        body_words=9.5,
        topic_share=1.0,
        core_share=0.75,
        distractor_share=0.2,
        stray_share=0.1,
        kind_weight={"N": 1.0, "I": 0.8, "A": 0.8, "P": 0.2},
    ),
}


def generate(schema: StandinSchema, split: str, n_rows: int, seed: int) -> pd.DataFrame:
    """Draws one split of a stand-in corpus.

    Args:
        schema: Fields, labels and style.
        split: Any name; each is a stream of its own, and only `train` has label noise.
        n_rows: Number of rows; the true classes are balanced to within one row.
        seed: Sample of the rows; the vocabulary does not depend on it.

    Returns:
        The text fields (str) and `label` (int64), in random order; the same for the same arguments on every machine.

    Raises:
        UsageError: `n_rows` is not positive or `split` is empty.
    """
    if n_rows < 1 or not split:
        raise UsageError(f"stand-in split {split!r} has {n_rows} rows; expected a name and at least one row.")
    n_classes = len(schema.label_names)
    rng = lex.stream("rows", schema.style, n_classes, schema.material, split, seed)
    label = np.argsort(rng.random(n_rows), kind="stable") % n_classes
    if schema.style == "pair":
        pairs = generate_pairs(schema.label_names, label, schema.material, rng)
        columns = [[_finish([text]) for text in column] for column in pairs]
    else:
        columns = _texts(schema, label, rng)
    if split == NOISY_SPLIT:
        wrong = rng.random(n_rows) < schema.label_noise_frac
        label = np.where(wrong, label + 1 + lex.integers(rng, n_rows, n_classes - 1), label) % n_classes
    import pandas as pd

    frame = pd.DataFrame(dict(zip(schema.text_fields, columns, strict=True)), dtype="str")
    frame["label"] = label.astype(np.int64)
    return frame


class _Rows:
    """The texts under construction: one entry per row for class, subtopic, stray class and topic strength."""

    def __init__(self, schema: StandinSchema, label: lex.Ints, rng: np.random.Generator) -> None:
        n, n_classes = len(label), len(schema.label_names)
        self.style, self.rng, self.n_classes = _STYLES[schema.style], rng, n_classes
        self.tables = lex.lexicon(schema.style, n_classes, schema.material)
        share = schema.topic_share_frac
        self.topic_share = (self.style.topic_share if share is None else share) * (0.4 + 1.2 * rng.random(n))
        self.label = label
        self.subtopic = lex.integers(rng, n, lex.N_SUBTOPICS)
        self.stray = (label + 1 + lex.integers(rng, n, n_classes - 1)) % n_classes

    def sentences(self, frames: tuple[str, ...], rows: lex.Ints, *, about_stray: bool) -> list[str]:
        """One sentence for each of `rows`, about the row's own class or its stray one."""
        rng, n = self.rng, len(rows)
        own, other = self.label[rows], self.stray[rows]
        if about_stray:
            own, other = other, own
        subtopic = self.subtopic[rows]
        columns: dict[str, lex.Objects] = {}
        for kind, n_draws in _DRAWS.items():
            cdf = lex.zipf_cdf(self.tables[kind].shape[1], self.style.zipf_exponent, self.style.zipf_shift)
            for i in range(n_draws):
                bears = rng.random(n) < self.topic_share[rows] * self.style.kind_weight[kind]
                strays = rng.random(n) < self.style.stray_share
                negated = (rng.random(n) < self.style.negation_share) & bears & (kind == "A")
                pool = np.where(strays | negated, other, own) * lex.N_SUBTOPICS + subtopic
                pool = np.where(bears, pool, self.n_classes * lex.N_SUBTOPICS)
                core = (rng.random(n) < self.style.core_share) & (kind != "P")
                u = rng.random(n)
                rank = np.where(core, (u * lex.N_CORE).astype(np.int64), np.searchsorted(cdf, u))
                for shown in lex.INFLECTED[kind]:
                    columns[f"{shown}{i}"] = self.tables[shown][pool, rank]
                if kind == "A":
                    columns[f"A{i}"] = np.where(negated, "not " + columns[f"A{i}"], columns[f"A{i}"])
        columns["K"] = (2 + (rng.random(n) ** 3 * 900).astype(np.int64)).astype(object)
        columns["T"] = np.array(words.TIMES, dtype=object)[lex.integers(rng, n, len(words.TIMES))]
        filled = zip(*(columns[slot] for slot in _SLOTS), strict=True)
        chosen = lex.integers(rng, n, len(frames))
        return [
            frames[f].format_map(dict(zip(_SLOTS, row, strict=True))) for f, row in zip(chosen, filled, strict=True)
        ]


def _finish(sentences: list[str]) -> str:
    text = _ARTICLE.sub(r"\1n ", "".join(sentences).lstrip(",;. "))
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _texts(schema: StandinSchema, label: lex.Ints, rng: np.random.Generator) -> list[list[str]]:
    """One column per text field."""
    rows, style, n = _Rows(schema, label, rng), _STYLES[schema.style], len(label)
    parts = [[lead] for lead in rows.sentences(style.lead, np.arange(n), about_stray=False)]
    extra = max(0.0, (schema.mean_words or style.mean_words) - style.lead_words) / style.body_words
    n_body = (extra * (0.5 + rng.random(n)) + rng.random(n)).astype(np.int64)
    n_body = np.maximum(n_body, len(schema.text_fields) - 1)
    share = style.distractor_share if schema.distractor_share_frac is None else schema.distractor_share_frac
    for i in range(n_body.max()):
        distracts = rng.random(n) < share
        restarts = style.restart_every > 0 and (i + 1) % style.restart_every == 0
        for frames, stray in ((style.body, False), (style.aside, True)):
            here = np.flatnonzero((distracts == stray) & (n_body > i))
            sentences = rows.sentences(style.lead if restarts else frames, here, about_stray=stray)
            for row, sentence in zip(here, sentences, strict=True):
                parts[row].append(f". {sentence[0].upper()}{sentence[1:]}" if restarts else sentence)
    if len(schema.text_fields) == 1:
        return [[_finish(part) for part in parts]]
    return [[_finish(part[:1]) for part in parts], [_finish(part[1:]) for part in parts]]
