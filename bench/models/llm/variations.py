"""Other texts like given ones, by a language model that is asked for them (Xie et al., 2024, Aug-PE)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.models.llm.parsing import one_text
from bench.models.llm.wording import ask_for_another

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.models.llm.asks import Sampling
    from bench.models.llm.client import LLM
    from bench.models.llm.wording import TaskWords

    Text = tuple[str, ...]


@dataclass(frozen=True)
class AskedVariations:
    """Asks for another text like each; see `bench.models.variations.Varies`.

    Args:
        llm: Who is asked.
        words: How the task is spoken of.
        sampling: How replies are drawn.
    """

    llm: LLM
    words: TaskWords
    sampling: Sampling

    def __call__(self, texts: Sequence[Text], seed: int) -> list[Text]:
        """Returns one variation of each text; the text itself where no reply can be used."""
        asks = [ask_for_another(self.llm, self.words, text, f"{seed}:{i}") for i, text in enumerate(texts)]
        made = (
            one_text(ask, reply, self.words.field_names)
            for ask, reply in zip(asks, self.llm.ask(asks, self.sampling), strict=True)
        )
        return [old if isinstance(new, str) else new for new, old in zip(made, texts, strict=True)]
