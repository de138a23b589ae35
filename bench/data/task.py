"""The base class of task plug-ins."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import pandas as pd

    from tdbench.bench.data.standin import StandinSchema


class TaskConfig(BaseModel):
    """Options of a task; a task with options subclasses it as its nested `Config`."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Files = dict[str, str | tuple[str, ...]]
UNSPLIT = "all"
"""Split name of data without an official split: the harness removes repeats and cuts off a fifth as test split."""


@dataclass(frozen=True)
class HubFiles:
    """Files of a data set repository on the Hub.

    Args:
        repo: Repository id.
        revision: Commit that the files are pinned to (40 hex digits).
        files: Split (`train` and `test`, or `all`) -> path inside the repository, or several paths that follow each other.
    """

    repo: str
    revision: str
    files: Files


@dataclass(frozen=True)
class Facts:
    """What a reader of a table must know about a task's data.

    Args:
        title: The name shown in tables.
        licence: Licence or terms of use, in words.
        citation: Paper that introduced the data.
        official_rows: Split -> number of rows of the official release. Fewer rows make the data a subset, more are an error.
        contamination: Pretrained model, such as `all-MiniLM-L6-v2` (without the owner) -> why its training may have seen this task.
        obtain: How to get the data where they cannot be downloaded freely: where to ask, which files to put where.
        development: True for tasks used to choose protocol settings; they appear on no leaderboard.
    """

    title: str
    licence: str
    citation: str
    official_rows: dict[str, int]
    contamination: dict[str, str] = field(default_factory=dict)
    obtain: str = ""
    development: bool = False


class Task(ABC):
    """A labelled text data set with a train and a test split.

    Subclasses set the class attributes and, where the files' columns differ from the task's fields, override `frame`. A task
    with variants sets `facts`, `local`, `hub` and `standin` in `__init__`, after its base class.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    kind: ClassVar[Literal["classification"]] = "classification"
    metric: ClassVar[Literal["accuracy_frac", "macro_f1_frac"]] = "accuracy_frac"
    """The headline: what rows are ranked by and intervals and differences are about."""
    balance: ClassVar[bool] = False
    """Cuts every split down to equal classes, after repeats were removed."""
    text_fields: ClassVar[tuple[str, ...]]
    label_names: ClassVar[tuple[str, ...]]
    item: str = "a text"
    """How language models are told what to write: one text with an article, such as `a news item`."""
    items: str = "texts"
    """Several texts, such as `news items`."""
    classes: tuple[str, ...] = ()
    """What follows `item`, class by class, such as `about sports`; empty to go by the class's name."""
    facts: Facts
    local: Files
    """Split (`train` and `test`, or `all`) -> .parquet, .csv or .jsonl file relative to the data folder, or several."""
    hub: HubFiles | None = None
    standin: StandinSchema | None = None
    public: ClassVar[tuple[str, ...]] = ()
    """Tasks whose train texts, without labels, private methods may use: other sources, no row in common as far as is known."""

    Config: ClassVar[type[TaskConfig]] = TaskConfig
    """The task's options; replace it by a nested class that subclasses TaskConfig."""

    def __init__(self, config: Any = None) -> None:
        self.config: Any = config if config is not None else self.Config()

    def frame(self, raw: pd.DataFrame) -> pd.DataFrame:
        """Turns a file's columns into the task's text fields and `label`.

        Args:
            raw: The file as read (all columns of a CSV file as text); a missing column may be left to raise KeyError.

        Returns:
            A frame with one string column for each of `text_fields`, and `label` as class ids.
        """
        return raw.loc[:, [*self.text_fields, "label"]]

    @classmethod
    def check_class(cls) -> str | None:
        """Returns what is wrong with this class, or None."""
        missing = [name for name in ("text_fields", "label_names", "facts", "local") if not hasattr(cls, name)]
        if missing:
            return f"the class attribute '{missing[0]}' is missing."
        if set(cls.local) not in ({"train", "test"}, {UNSPLIT}):
            return f"local names the splits {sorted(cls.local)}; expected 'train' and 'test', or 'all' alone."
        if len(cls.text_fields) not in {1, 2}:
            return f"text_fields has {len(cls.text_fields)} names; expected one or two."
        if not 2 <= len(cls.label_names) <= 256:
            return f"label_names has {len(cls.label_names)} names; expected 2 to 256."
        if cls.kind != "classification":
            return f"kind is '{cls.kind}'; this version knows only 'classification'."
        fits = len(cls.classes) in {0, len(cls.label_names)}
        return None if fits else f"classes has {len(cls.classes)} phrases; expected one for each class, or none."
