"""Prompts for texts of a task: an instruction, or a text to be continued.

Texts are asked for as JSON of models that follow instructions, and one at a time, behind a header and examples, of those that do not.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tdbench.bench.models.llm.client import GenerationSpec, Message, Request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tdbench.bench.models.llm.client import LLM

    Text = tuple[str, ...]

_NUMBER = re.compile(r"\W*(\d{1,3})(?!\w)")

STOP = "\n###"
"""Closes every example, and so the text that follows them."""

RULES = "Do not copy or quote given texts, do not number, and add no comments."


@dataclass(frozen=True)
class TaskWords:
    """How a task's texts are spoken of.

    Args:
        item: One text, with an article: `a news item`.
        items: Several: `news items`.
        classes: What follows, class by class: `about sports`.
        field_names: The task's text fields.
        label_names: The classes' names, which a model names when it is asked for a text's class.
    """

    item: str
    items: str
    classes: tuple[str, ...]
    field_names: tuple[str, ...]
    label_names: tuple[str, ...]

    def shape(self) -> str:
        """Returns what one JSON object looks like."""
        return json.dumps(dict.fromkeys(self.field_names, "..."))

    def written(self, text: Text) -> str:
        """Returns a text as examples show it to models that continue texts."""
        if len(text) == 1:
            return text[0]
        return "\n".join(f"{name}: {part}" for name, part in zip(self.field_names, text, strict=True))

    def as_json(self, text: Text) -> str:
        """Returns a text as instructions show it."""
        return json.dumps(dict(zip(self.field_names, text, strict=True)), ensure_ascii=False)


@dataclass(frozen=True)
class PromptSpec:
    """What a text of a class should be like.

    Args:
        label: The class.
        count: Texts.
        examples: Texts of the class to go by.
        features: Name -> value, such as `tone: dry`.
        concepts: What the texts should be about.
        n_words: Words a text should have.
    """

    label: int
    count: int = 1
    examples: tuple[Text, ...] = ()
    features: Mapping[str, str] | None = None
    concepts: tuple[str, ...] = ()
    n_words: int | None = None


def request_for_texts(llm: LLM, words: TaskWords, spec: PromptSpec, draw: str, *, continued: bool = False) -> Request:
    """Returns the request for texts: `count` of them as JSON, or one as the continuation of a prompt.

    Args:
        llm: The model.
        words: How the task is spoken of.
        spec: What is wanted.
        draw: Tells draws of the same request apart.
        continued: Whether a model that follows instructions is asked to continue a text nevertheless.
    """
    wanted = GenerationSpec(label=spec.label, count=spec.count, mentions=spec.concepts, n_words=spec.n_words)
    if llm.supports_chat and not continued:
        return Request(messages=_chat(_instruction(words, spec)), draw=draw, wanted=wanted)
    if llm.reads_words:
        wanted = wanted.model_copy(update={"count": 1})
    return _continued(llm, _prompt(words, spec), draw, wanted)


def request_for_refinement(llm: LLM, words: TaskWords, spec: PromptSpec, draft: Text, draw: str) -> Request:
    """Returns the request for a better version of a draft that keeps its theme and class (BARE, second step)."""
    wanted = GenerationSpec(kind="refine", label=spec.label, draft=draft)
    what = f"{words.item} {words.classes[spec.label]}"
    if llm.supports_chat:
        parts = [
            f"Here is a draft of {what}. Improve it: make it coherent, realistic and closer in style to the examples. "
            "Keep its theme, and keep it such that the description still holds.",
            *_shown(words, spec),
            f"Draft: {words.as_json(draft)}",
            f"Answer with the improved version only, as one JSON object of the shape {words.shape()}.",
        ]
        return Request(messages=_chat("\n\n".join(parts)), draw=draw, wanted=wanted)
    shown = [f"Good version:\n{words.written(example)}{STOP}" for example in spec.examples]
    parts = [f"Drafts of {words.items} {words.classes[spec.label]}, and their good versions.", *shown]
    prompt = "\n\n".join([*parts, f"Draft:\n{words.written(draft)}\nGood version:\n"])
    return _continued(llm, prompt, draw, wanted)


def request_for_variation(llm: LLM, words: TaskWords, text: Text, draw: str) -> Request:
    """Returns the request for a text like another one, whatever its class (Aug-PE, rephrasing)."""
    wanted = GenerationSpec(kind="refine", draft=text)
    if llm.supports_chat:
        parts = [
            f"Here is {words.item}: {words.as_json(text)}",
            "Write another one like it in other words: keep what it is about, its tone and roughly its length; change wording and details.",
            f"Answer with one JSON object of the shape {words.shape()} and nothing else.",
        ]
        return Request(messages=_chat("\n\n".join(parts)), draw=draw, wanted=wanted)
    prompt = f"The same in other words.\n\nText:\n{words.written(text)}{STOP}\n\nText:\n"
    return _continued(llm, prompt, draw, wanted)


def request_for_class(llm: LLM, words: TaskWords, text: Text, label: int, draw: str) -> Request:
    """Returns the request for a text's class.

    Args:
        llm: The model.
        words: How the task is spoken of.
        text: The text.
        label: The class that it was written for; the request does not say it.
        draw: Tells draws apart.
    """
    wanted = GenerationSpec(kind="classify", label=label, draft=text)
    numbered = enumerate(zip(words.label_names, words.classes, strict=True), start=1)
    kinds = "\n".join(f"{number}. {name}: {words.item} {what}" for number, (name, what) in numbered)
    if llm.supports_chat:
        instruction = (
            f"Which of these classes does the text belong to?\n{kinds}\n\nText: {words.as_json(text)}\n\n"
            "Answer with the number of the class alone."
        )
        return Request(messages=_chat(instruction), draw=draw, wanted=wanted)
    prompt = f"Classes:\n{kinds}\n\nText:\n{words.written(text)}\nNumber of its class:"
    return Request(prompt=prompt, stop=("\n",), draw=draw, wanted=wanted)


def named_class(words: TaskWords, reply: str) -> int | None:
    """Returns the class that a reply names, by its number, or by the only name in it that is not denied; None where there is none."""
    number = _NUMBER.match(reply)
    if number:
        label = int(number[1]) - 1
        return label if label < len(words.label_names) and label >= 0 else None
    said, names = _folded(reply), [_folded(name) for name in words.label_names]
    if said in names:
        return names.index(said)
    found: list[int] = []
    for label in sorted(range(len(names)), key=lambda i: -len(names[i])):
        spans = re.finditer(
            rf"(?<!\w)(?P<denied>(?:not|no|non|isn t|never)(?: an?)? )?{re.escape(names[label])}(?!\w)", said
        )
        kinds = {span["denied"] is None for span in spans}
        if kinds and kinds != {False}:
            found.append(label)
            said = said.replace(names[label], " ")
        elif kinds:
            return None
    return found[0] if len(found) == 1 else None


def _folded(text: str) -> str:
    return " ".join(re.sub(r"[\W_]+", " ", text.lower()).split())


def request_for_features(words: TaskWords, text: Text, label: int, features: Sequence[str], draw: str) -> Request:
    """Returns the request for the linguistic features of a real text (SynAlign, step 2, first call)."""
    named = ", ".join(features)
    instruction = (
        f"Text: {words.as_json(text)}\n\nIt is {words.item} {words.classes[label]}. Describe how it is written by its features, for a "
        f"writer who must not see it: {named}. Do not quote it and name no one in it.\n"
        "Answer with one flat JSON object, feature -> short value."
    )
    return Request(messages=_chat(instruction), draw=draw)


def request_for_concepts(words: TaskWords, text: Text, label: int, draw: str) -> Request:
    """Returns the request for the topics and key concepts of a real text (SynthLLM, level 2)."""
    instruction = (
        f"Text: {words.as_json(text)}\n\nIt is {words.item} {words.classes[label]}. Name 1 to 3 topics that it belongs to, and 3 to 8 key "
        "concepts in it, each in one to three words.\n"
        'Answer with one JSON object: {"topics": ["..."], "concepts": ["..."]}.'
    )
    return Request(messages=_chat(instruction), draw=draw)


def request_for_values(words: TaskWords, feature: str, count: int, label: int | None, draw: str) -> Request:
    """Returns the request for values that a feature may take in texts of a class, or in any (AttrPrompt)."""
    instruction = (
        f"We will write {words.items}{'' if label is None else ' ' + words.classes[label]}, which differ by their {feature}. "
        f"List {count} different values of {feature} that such texts may have, each in a few words.\n"
        'Answer with one JSON object: {"values": ["..."]}.'
    )
    return Request(messages=_chat(instruction), draw=draw)


def _continued(llm: LLM, prompt: str, draw: str, wanted: GenerationSpec) -> Request:
    """Returns the request for the text behind a prompt, up to the mark that closes examples; generators without prompts reply with JSON."""
    return Request(
        prompt=prompt, stop=(STOP.strip(),), draw=draw, form="plain" if llm.reads_words else "json", wanted=wanted
    )


def _chat(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


def _instruction(words: TaskWords, spec: PromptSpec) -> str:
    number = f"{spec.count} different {words.items}" if spec.count > 1 else words.item
    parts = [f"Write {number} {words.classes[spec.label]}."]
    if spec.features:
        parts.append("\n".join(f"{name}: {value}" for name, value in spec.features.items()))
    if spec.concepts:
        parts.append(f"They should be about: {', '.join(spec.concepts)}.")
    if spec.n_words:
        parts.append(f"About {spec.n_words} words each.")
    parts += _shown(words, spec)
    shape = f"a JSON list of {spec.count} objects of the shape" if spec.count > 1 else "one JSON object of the shape"
    parts.append(f"{RULES}\nAnswer with {shape} {words.shape()} and nothing else.")
    return "\n\n".join(parts)


def _shown(words: TaskWords, spec: PromptSpec) -> list[str]:
    if not spec.examples:
        return []
    return ["Examples of the style:\n" + "\n".join(words.as_json(text) for text in spec.examples)]


def _prompt(words: TaskWords, spec: PromptSpec) -> str:
    head = [f"{name}: {value}" for name, value in (spec.features or {}).items()]
    head += [f"about: {', '.join(spec.concepts)}"] if spec.concepts else []
    opening = f"{words.items[:1].upper()}{words.items[1:]} {words.classes[spec.label]}."
    shown = [f"{words.written(text)}{STOP}" for text in spec.examples]
    first = f"{words.field_names[0]}:" if len(words.field_names) > 1 else ""
    return "\n\n".join([opening, *shown, "\n".join([*head, first])])


_LONGEST = 60

_WORD = r"(?u)\b[^\W\d_][\w'-]{2,}\b"


def keywords(texts: Sequence[str], count: int) -> list[tuple[str, ...]]:
    """Returns every text's words of the greatest tf-idf weight among these texts, at most `count`; English function words are no keywords.

    Args:
        texts: The texts that weights are counted over.
        count: Keywords of a text.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    rare = 2 if len(texts) > 50 else 1
    vectorizer: Any = TfidfVectorizer(
        stop_words="english",
        min_df=rare,
        max_df=0.5 if len(texts) > 4 else 1.0,
        token_pattern=_WORD,
    )
    try:
        weights_NV = vectorizer.fit_transform(texts).tocsr()
    except ValueError:  # no word is left
        return [()] * len(texts)
    names = vectorizer.get_feature_names_out()
    keywords_by_text = []
    for row in range(len(texts)):
        own = slice(weights_NV.indptr[row], weights_NV.indptr[row + 1])
        values, ids = weights_NV.data[own], weights_NV.indices[own]
        best = np.lexsort((ids, -values))[:count]
        keywords_by_text.append(tuple(str(names[ids[i]])[:_LONGEST] for i in best))
    return keywords_by_text
