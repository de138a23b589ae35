"""Other texts like given ones, by a language model that is asked for them (Xie et al., 2024, Aug-PE)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tdbench.bench.errors import LLMError
from tdbench.bench.models.llm.asks import Sampling
from tdbench.bench.models.llm.parsing import one_text
from tdbench.bench.models.llm.wording import ask_for_another

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tdbench.bench.models.llm.client import LLM
    from tdbench.bench.models.llm.wording import TaskWords

    Text = tuple[str, ...]


LEAST_USABLE_FRAC = 0.1
"""Share of replies below which a model is said not to do what it is asked for."""
_FRAME_TOKENS, _TOKENS_A_WORD = 64, 3


@dataclass(frozen=True)
class AskedVariations:
    """Asks for another text like each; see `tdbench.bench.models.variations.Varies`.

    Args:
        llm: Who is asked.
        words: How the task is spoken of.
        top_p: Share of the probability that is sampled from.
        notes: Receives `variation_usable_frac`, the least share of replies that could be used.
    """

    llm: LLM
    words: TaskWords
    top_p: float
    notes: dict[str, float]

    def __call__(self, texts: Sequence[Text], seed: int) -> list[Text]:
        """Returns one variation of each text; the text itself where the reply cannot be used.

        Raises:
            LLMError: Fewer than a tenth of the replies can be used.
        """
        asks = [ask_for_another(self.llm, self.words, text, f"{seed}:{i}") for i, text in enumerate(texts)]
        longest = max(len(part.split()) for text in texts for part in text) * len(texts[0])
        sampling = Sampling(top_p=self.top_p, max_tokens=_FRAME_TOKENS + _TOKENS_A_WORD * longest)
        replies = self.llm.ask(asks, sampling)
        made = [one_text(ask, reply, self.words.field_names) for ask, reply in zip(asks, replies, strict=True)]
        bad = Counter(one for one in made if isinstance(one, str))
        usable = 1 - bad.total() / len(made)
        if usable < LEAST_USABLE_FRAC:
            reasons = ", ".join(f"{count} {reason}" for reason, count in bad.most_common())
            raise LLMError(
                f"of {len(made)} variations {len(made) - bad.total()} can be used ({reasons}); give another model."
            )
        self.notes["variation_usable_frac"] = min(usable, self.notes.get("variation_usable_frac", 1.0))
        return [old if isinstance(new, str) else new for new, old in zip(made, texts, strict=True)]
