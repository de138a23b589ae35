"""WebMD: satisfaction with a drug, from a patient's review, five classes; the file must be fetched by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdbench.api import Facts, StandinSchema, Task

if TYPE_CHECKING:
    import pandas as pd


class WebMD(Task):
    """WebMD drug reviews, lower case, cut down to equal classes (Ochs and Habernal, 2025).

    The paper's 80/20 split is of all rows; here repeats are removed first (compared without case and white space).
    """

    name = "webmd"
    balance = True
    text_fields = ("text",)
    label_names = ("terrible", "poor", "neutral", "good", "great")
    item, items = "a patient's review of a drug", "patients' reviews of drugs"
    classes = (
        "of a terrible experience",
        "of a poor experience",
        "of a mixed experience",
        "of a good experience",
        "of a great experience",
    )
    public = ("agnews", "imdb", "mnli", "spam", "sst2")
    facts = Facts(
        title="WebMD",
        licence="none stated; reviews on WebMD",
        citation="Ochs and Habernal, 2025, Private synthetic text generation with diffusion models",
        official_rows={},
        obtain="download the Kaggle data set rohanharode07/webmd-drug-reviews-dataset and put webmd.csv into webmd/ of the data folder.",
    )
    local = {"all": "webmd/webmd.csv"}
    standin = StandinSchema(
        text_fields=text_fields,
        label_names=label_names,
        style="review",
        mean_words=60,
        topic_share_frac=0.45,
        material=4,
    )

    def frame(self, raw: pd.DataFrame) -> pd.DataFrame:
        """Takes satisfaction 1 to 5 as classes 0 to 4; other values are left out."""
        rated = raw.loc[raw["Satisfaction"].isin(list("12345"))]
        text, label = rated["Reviews"].str.lower(), rated["Satisfaction"].astype(int) - 1
        return rated.assign(text=text, label=label).loc[:, ["text", "label"]]
