"""SWMH: which mental-health community a post was written to, five classes; access on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdbench.api import Facts, StandinSchema, Task

if TYPE_CHECKING:
    import pandas as pd


class SWMH(Task):
    """Suicide Watch and Mental Health, with its own splits; texts as they are (Ochs and Habernal, 2025)."""

    name = "swmh"
    metric = "macro_f1_frac"
    text_fields = ("text",)
    label_names = ("Anxiety", "bipolar", "depression", "offmychest", "SuicideWatch")
    item, items = "a forum post on mental health", "forum posts on mental health"
    classes = (
        "about anxiety",
        "about bipolar disorder",
        "about depression",
        "in which someone gets something off the chest",
        "in which someone speaks of suicide",
    )
    public = ("agnews", "imdb", "mnli", "spam", "sst2")
    facts = Facts(
        title="SWMH",
        licence="access on request, research use, no redistribution",
        citation="Ji et al., 2022, Suicidal ideation and mental disorder detection with attentive relation networks",
        official_rows={},
        obtain="ask for access to record 6476179 on Zenodo and put its train.csv and test.csv into swmh/ of the data folder.",
    )
    local = {"train": "swmh/train.csv", "test": "swmh/test.csv"}
    standin = StandinSchema(
        text_fields=text_fields, label_names=label_names, style="message", mean_words=120, topic_share_frac=0.3
    )

    def frame(self, raw: pd.DataFrame) -> pd.DataFrame:
        """Turns `self.<community>` into class ids."""
        ids = {name: number for number, name in enumerate(self.label_names)}
        names = raw["label"].str.removeprefix("self.")
        unknown = sorted(set(names) - set(ids))
        if unknown:
            raise ValueError(f"label {unknown[0]!r} is none of {', '.join(ids)}")
        return raw.assign(label=names.map(ids).astype(int)).loc[:, ["text", "label"]]
