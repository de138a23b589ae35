"""Budgets: how much a distilled set may hold, and how it is counted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tdbench.bench.errors import BudgetError

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORD_PATTERN = re.compile(r"\w+|[^\w\s]")
"""Words and punctuation marks."""
_TOKEN = re.compile(r"\w{1,16}|[^\w\s]")


def count_tokens(text: str) -> int:
    """Counts words and punctuation marks: a token count that favours no learner's vocabulary.

    A word counts one for every 16 characters begun, and a text counts at least one, so that neither endless words nor blank texts are free.
    """
    return max(1, len(_TOKEN.findall(text)))


@dataclass(frozen=True)
class Budget:
    """How much a distilled set may hold for each class.

    Args:
        name: Name in tables.
        per_class: Texts per class, or None for no limit.
        tokens_per_class: Tokens per class as `count_tokens` counts them, or None for no limit.
    """

    name: str
    per_class: int | None = None
    tokens_per_class: int | None = None

    def affordable(self, positions: NDArray[np.int64], texts: list[str]) -> NDArray[np.int64]:
        """Returns those positions whose text alone fits the token limit.

        Raises:
            BudgetError: Not one text fits.
        """
        if self.tokens_per_class is None:
            return positions
        fits = np.array([count_tokens(texts[i]) <= self.tokens_per_class for i in positions], dtype=bool)
        if not fits.any():
            raise BudgetError(f"no text of a class has at most {self.tokens_per_class} tokens; choose a larger budget.")
        return positions[fits]

    def most_texts(self, n_rows: int) -> int:
        """Returns how many of `n_rows` texts one class can hold at most."""
        return min(n for n in (self.per_class, self.tokens_per_class, n_rows) if n is not None)

    def fill(self, order: Iterable[int], texts: list[str]) -> list[int]:
        """Takes items of one class from an ordered list until the budget is used up.

        Args:
            order: Positions in `texts`, best first.
            texts: Texts that the positions point to.

        Returns:
            The positions taken. With a token limit, texts that no longer fit are passed over.
        """
        taken: list[int] = []
        left = self.tokens_per_class
        for position in order:
            if self.per_class is not None and len(taken) >= self.per_class:
                break
            if left is not None:
                cost = count_tokens(texts[position])
                if cost > left:
                    continue
                left -= cost
            taken.append(int(position))
        return taken


ALL = Budget("all")
"""Budget of methods that ignore the budget."""
