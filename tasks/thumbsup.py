"""Thumbs-Up: how many votes a critical app review received, five classes; the files must be fetched by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdbench.api import Facts, StandinSchema, Task

if TYPE_CHECKING:
    import pandas as pd


class ThumbsUp(Task):
    """Thumbs-Up with its own splits, lower case, every split cut down to equal classes (Ochs and Habernal, 2025)."""

    name = "thumbsup"
    balance = True
    text_fields = ("text",)
    label_names = ("mild", "notable", "concerning", "serious", "hot")
    item, items = "an app review that reports a problem", "app reviews that report problems"
    classes = (
        "of mild concern",
        "of notable concern",
        "of concern",
        "of serious concern",
        "of the most urgent concern",
    )
    public = ("agnews", "imdb", "mnli", "spam", "sst2")
    facts = Facts(
        title="Thumbs-Up",
        licence="none stated; reviews of the Google Play store",
        citation="Fereidouni et al., 2022, Proactive prioritization of app issues via contrastive learning",
        official_rows={},
        obtain=(
            "export the Hub data set recmeapp/thumbs-up (`for split, rows in load_dataset(...).items(): "
            "rows.to_parquet(f'thumbsup/{split}.parquet')`) into the data folder."
        ),
    )
    local = {"train": "thumbsup/train.parquet", "test": "thumbsup/test.parquet"}
    standin = StandinSchema(
        text_fields=text_fields,
        label_names=label_names,
        style="review",
        mean_words=40,
        topic_share_frac=0.65,
        material=3,
    )

    def frame(self, raw: pd.DataFrame) -> pd.DataFrame:
        """Leaves out empty reviews."""
        rows = raw.assign(text=raw["review"].fillna("").str.lower()).loc[:, ["text", "label"]]
        return rows.loc[rows["text"].str.strip() != ""]
