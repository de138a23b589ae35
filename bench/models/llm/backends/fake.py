"""Backend of random words, for tests and for trying things out: no model, no network, the same for the same seed."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

from tdbench.bench.models.llm.access import ModelName, Resources
from tdbench.bench.models.llm.client import Failure, GenerationSpec, Reply, Request, Sampling

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from tdbench.bench.models.llm.client import OnReply

_NOUNS = "river market signal garden window engine letter silver travel number winter paper bridge forest stone music camera doctor planet"


class FakeName(ModelName):
    """`fake:<seed>`."""

    prefix = "fake"

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Reads names whose model is a number."""
        name = super().read(text)
        return name if name is not None and name.model.isdecimal() else None

    def open(self, resources: Resources) -> FakeBackend:
        """Returns a backend that replies with random words."""
        return FakeBackend(int(self.model), resources.field_names, resources.label_names)


class FakeBackend:
    """Texts of random words, with the class's name in each.

    Args:
        seed: Another seed, other texts.
        field_names: The task's text fields.
        label_names: Its classes.
        script: Takes the place of the random texts: receives a request and its seed, returns what the model says, or None for a failure.
    """

    supports_chat, reads_spec = True, False

    def __init__(
        self,
        seed: int,
        field_names: Sequence[str],
        label_names: Sequence[str],
        script: Callable[[Request, int], str | None] | None = None,
    ) -> None:
        self._seed, self._fields, self._labels = seed, list(field_names), list(label_names)
        self._script = script or self._words

    @property
    def backend_id(self) -> dict[str, Any]:
        """The seed."""
        return {"kind": "fake", "seed": self._seed}

    def answer(
        self,
        requests: Sequence[Request],
        sampling: Sampling,  # noqa: ARG002 - nothing is drawn
        seeds: Sequence[int],
        on_reply: OnReply,
    ) -> dict[int, Failure]:
        """Answers at once; what is asked counts as a token for every four characters."""
        failures = {}
        for place, (request, seed) in enumerate(zip(requests, seeds, strict=True)):
            text = self._script(request, seed)
            if text is None:
                failures[place] = Failure(reason="the script says nothing")
                continue
            count = {"tokens_in": request.n_characters // 4, "tokens_out": len(text) // 4}
            on_reply(place, Reply(text=text, finish="stop", wall_s=0.0, cpu_s=0.0, served_by="fake", **count))
        return failures

    def _words(self, request: Request, seed: int) -> str:
        wanted = request.wanted or GenerationSpec()
        label = self._labels[wanted.label]
        if wanted.kind == "classify":
            return label
        draws = random.Random(self._seed * 2**32 + seed)  # noqa: S311 - texts, no secrets

        def text() -> str:
            return " ".join([label, *wanted.mentions, *draws.choices(_NOUNS.split(), k=wanted.n_words or 12)])

        if wanted.kind == "refine":
            halves = [part.split()[: (1 + len(part.split())) // 2] for part in wanted.draft]
            texts = [" ".join([*half, *draws.choices(_NOUNS.split(), k=3)]) for half in halves]
            if request.mode == "chat":
                return json.dumps(dict(zip(self._fields, texts, strict=True)))
            return texts[0] if len(texts) == 1 else "\n".join(map(": ".join, zip(self._fields, texts, strict=True)))
        if request.mode == "complete":
            return text() if len(self._fields) == 1 else "\n".join(f"{name}: {text()}" for name in self._fields)
        return json.dumps([{name: text() for name in self._fields} for _ in range(wanted.count)])
