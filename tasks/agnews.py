"""AG News: topic of a news item, four classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdbench.api import Facts, HubFiles, StandinSchema, Task

if TYPE_CHECKING:
    import pandas as pd


class AGNews(Task):
    """AG News topic classification, title and description joined by a blank."""

    name = "agnews"
    text_fields = ("text",)
    label_names = ("World", "Sports", "Business", "Sci/Tech")
    item, items = "a news item of a headline and first sentences", "news items, each of a headline and first sentences"
    classes = ("about world affairs", "about sports", "about business", "about science or technology")
    public = ("imdb", "mnli", "spam", "sst2", "tweet_emotion")
    facts = Facts(
        title="AG News",
        licence="none stated; provided by A. Gulli for research and other non-commercial use",
        citation="Zhang, Zhao and LeCun, 2015, Character-level convolutional networks for text classification",
        official_rows={"train": 120_000, "test": 7_600},
    )
    local = {"train": "ag_news/train.parquet", "test": "ag_news/test.parquet"}
    hub = HubFiles(
        repo="fancyzhx/ag_news",
        revision="eb185aade064a813bc0b7f42de02595523103ca4",
        files={"train": "data/train-00000-of-00001.parquet", "test": "data/test-00000-of-00001.parquet"},
    )
    standin = StandinSchema(text_fields=text_fields, label_names=label_names, style="news")

    def frame(self, raw: pd.DataFrame) -> pd.DataFrame:
        """Joins title and description where the file keeps them apart (the Hub's files do not)."""
        if "text" in raw:
            return raw.loc[:, ["text", "label"]]
        return raw.assign(text=raw["title"] + " " + raw["description"]).loc[:, ["text", "label"]]
