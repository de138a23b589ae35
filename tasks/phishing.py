"""The SPAM task of Ochs and Habernal: mail and phishing from five collections; the files must be fetched by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdbench.api import Facts, StandinSchema, Task

if TYPE_CHECKING:
    import pandas as pd

_FILES = ("CEAS_08.csv", "Ling.csv", "Nazario.csv", "Nigerian_Fraud.csv", "SpamAssasin.csv")


class Phishing(Task):
    """SPAM of Ochs and Habernal (2025): subject and body, lower case, most punctuation removed.

    The paper's 80/20 split is of all rows; here repeats are removed first (compared without case and white space).
    """

    name = "phishing"
    metric = "macro_f1_frac"
    text_fields = ("text",)
    label_names = ("non-spam", "spam")
    item, items = "an e-mail", "e-mails"
    classes = ("that is legitimate", "that is phishing or spam")
    public = ("agnews", "imdb", "mnli", "sst2", "tweet_emotion")
    facts = Facts(
        title="SPAM (phishing mail)",
        licence="public collections with terms of their own; see the page of the data set",
        citation="Ochs and Habernal, 2025, Private synthetic text generation with diffusion models",
        official_rows={},
        obtain=(
            "download the Kaggle data set naserabdullahalam/phishing-email-dataset and put "
            f"{', '.join(_FILES)} (not Enron.csv, not phishing_email.csv) into phishing/ of the data folder."
        ),
    )
    local = {"all": tuple(f"phishing/{name}" for name in _FILES)}
    standin = StandinSchema(
        text_fields=text_fields,
        label_names=label_names,
        style="message",
        mean_words=150,
        topic_share_frac=0.18,
        material=3,
    )

    def frame(self, raw: pd.DataFrame) -> pd.DataFrame:
        """Keeps letters, digits, white space and `: / = .` of subject and body."""
        text = raw["subject"].str.lower() + ": " + raw["body"].str.lower()
        text = text.str.replace(r"[^a-z0-9\s:/=.]", "", regex=True).str.replace(r"[\n\t]", " ", regex=True)
        return raw.assign(text=text, label=raw["label"].astype(int)).loc[:, ["text", "label"]]
