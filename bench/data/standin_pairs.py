"""Pairs of texts for the stand-in corpus; the label is the relation between the two."""

from __future__ import annotations

import numpy as np

from tdbench.bench.data import standin_lexicon as lex
from tdbench.bench.data import standin_words as words

# Verb, its past, a past of the same meaning, then verb and past of the opposite meaning.
VERBS = (
    "buy bought purchased sell sold",
    "find found discovered lose lost",
    "fix fixed repaired break broke",
    "send sent mailed receive received",
    "keep kept retained discard discarded",
    "lift lifted raised lower lowered",
    "praise praised commended criticize criticized",
    "open opened unlocked close closed",
    "build built assembled dismantle dismantled",
    "hide hid concealed display displayed",
    "accept accepted approved refuse refused",
    "clean cleaned washed stain stained",
    "recall recalled remembered forget forgot",
    "gather gathered collected scatter scattered",
    "like liked enjoyed dislike disliked",
    "enlarge enlarged expanded shrink shrank",
)
# Role and its wider kind.
ROLES = (
    "violinist musician",
    "surgeon doctor",
    "welder worker",
    "poet writer",
    "sprinter athlete",
    "baker cook",
    "sculptor artist",
    "botanist scientist",
    "captain officer",
    "mechanic technician",
    "novelist writer",
    "cellist musician",
    "dentist doctor",
    "rower athlete",
    "chemist scientist",
)
PREMISES = (
    "{P0}, a {role} from {P1}, {past} {K} {A0} {M0} {T}.",
    "{T}, the {role} {P0} of {P1} {past} {K} {A0} {M0} without any help.",
    "It was {P0}, the {A0} {role}, who {past} {K} {M0} in {P1} {T}.",
    "The {role} did not {anti} the {K} {A0} {M0}: {P0} {past} all of them in {P1} {T}.",
    "After a long day in {P1}, {P0} the {role} {past} the {K} {A0} {M0} {T}.",
)
HYPOTHESES = {
    "entailment": (
        "{P0} {same} {M0}.",
        "A {kind} {past} several {M0} {T}.",
        "{P0} did not {anti} the {M0}.",
        "Some {M0} were {same} by a {kind}.",
        "{K} {M0} were involved, and {P0} is a {kind}.",
        "Something {T} in {P1} had to do with {M0}.",
    ),
    "neutral": (
        "{P0} {past} the {M0} for {P2}.",
        "A {kind} was paid {K1} dollars {T}.",
        "{P0} did not tell {P2} about the {M0}.",
        "The {M0} were also {A1}.",
        "{P2} had asked for {K} {M0} as well.",
        "{P0} will never {verb} {M1} again.",
    ),
    "contradiction": (
        "{P0} {antipast} all the {M0}.",
        "The {kind} did not {verb} any {M0}.",
        "{P0} {past} only {K1} {M0}.",
        "No {role} {same} anything {T}.",
        "{P0} has never been a {kind}.",
        "Every one of the {M0} was left alone {T}.",
    ),
}

MAX_RELATIONS = len(HYPOTHESES)


def generate_pairs(
    label_names: tuple[str, ...], label: lex.Ints, material: int, rng: np.random.Generator
) -> list[list[str]]:
    """Writes one premise and one hypothesis for each label.

    Args:
        label_names: Two or three names, see `StandinSchema`.
        label: True labels, shape (N,).
        material: Picks the language.
        rng: Source of the draws.

    Returns:
        The premises and the hypotheses, bare sentences that still need their articles.
    """
    n = len(label)
    relations = _relations(label_names)
    tables = lex.lexicon("news", 20, material)

    def draw(options: tuple[str, ...]) -> list[str]:
        return [options[i] for i in lex.integers(rng, n, len(options))]

    def look_up(letter: str, count: int) -> dict[str, list[str]]:
        table = tables[letter]
        rank = np.searchsorted(lex.zipf_cdf(table.shape[1], 1.0, 8.0), rng.random((count, n)))
        found = table[lex.integers(rng, (count, n), len(table)), rank].tolist()
        return {f"{letter}{i}": column for i, column in enumerate(found)}

    number = lex.integers(rng, n, 40) + 2
    columns = look_up("P", 3) | look_up("M", 2) | look_up("A", 2)
    larger = number + 1 + lex.integers(rng, n, 40)
    columns |= {"K": number.tolist(), "K1": larger.tolist(), "T": draw(words.TIMES)}
    verbs, roles, premises = draw(VERBS), draw(ROLES), draw(PREMISES)
    u = rng.random((2, n))
    result: list[list[str]] = [[], []]
    for i, row in enumerate(zip(*columns.values(), strict=True)):
        slots = dict(zip(columns, row, strict=True))
        slots |= zip(("verb", "past", "same", "anti", "antipast"), verbs[i].split(), strict=True)
        slots |= zip(("role", "kind"), roles[i].split(), strict=True)
        choices = relations[label[i]]
        hypotheses = HYPOTHESES[choices[int(u[0, i] * len(choices))]]
        result[0].append(premises[i].format_map(slots))
        result[1].append(hypotheses[int(u[1, i] * len(hypotheses))].format_map(slots))
    return result


def _relations(label_names: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """The relations that each label stands for: by name where the names say so, else by index."""
    known, names = tuple(HYPOTHESES), tuple(name.lower() for name in label_names)
    if len(names) == len(known):
        return tuple((name,) for name in (names if set(names) == set(known) else known))
    entailed, not_entailed = known[:1], known[1:]
    return (not_entailed, entailed) if names[0].startswith("not") else (entailed, not_entailed)
