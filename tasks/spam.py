"""Spam: short messages, or mail with `task.variant=enron`; two classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from tdbench.api import Facts, HubFiles, StandinSchema, Task, TaskConfig

if TYPE_CHECKING:
    import pandas as pd


class Spam(Task):
    """SMS Spam Collection, or Enron-Spam (subject and body) as the variant `enron`; repeats removed, no official split."""

    name = "spam"
    metric = "macro_f1_frac"
    text_fields = ("text",)
    label_names = ("ham", "spam")
    item, items = "a text message (SMS)", "text messages (SMS)"
    classes = ("of private or ordinary business kind, no spam", "that is spam")
    public = ("agnews", "imdb", "mnli", "sst2", "tweet_emotion")
    facts = Facts(
        title="SMS Spam",
        licence="CC BY 4.0",
        citation="Almeida, Gomez Hidalgo and Yamakami, 2011, Contributions to the study of SMS spam filtering",
        official_rows={"all": 5_574},
    )
    local = {"all": "sms_spam/all.parquet"}
    hub = HubFiles(
        repo="ucirvine/sms_spam",
        revision="cae486f927c250fe1d4a5b55f11357964ed1646c",
        files={"all": "plain_text/train-00000-of-00001.parquet"},
    )
    standin = StandinSchema(text_fields=text_fields, label_names=label_names, style="message", material=1)

    class Config(TaskConfig):
        """Which collection."""

        variant: Literal["sms", "enron"] = "sms"

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        if self.config.variant == "enron":
            self.facts = Facts(
                title="Enron-Spam",
                licence="none stated; Enron mail is public by release of the FERC, research use",
                citation="Metsis, Androutsopoulos and Paliouras, 2006, Spam filtering with naive Bayes: which naive Bayes?",
                official_rows={"all": 33_716},
            )
            self.local = {"all": "spam_email/enron_spam_all.parquet"}
            self.item, self.items = "an e-mail with its subject", "e-mails with their subjects"
            self.hub = None
            self.standin = StandinSchema(
                self.text_fields, self.label_names, "message", mean_words=150, topic_share_frac=0.22, material=2
            )

    def frame(self, raw: pd.DataFrame) -> pd.DataFrame:
        """Joins subject and body of mail; the Hub's file of messages calls its text `sms`."""
        if self.config.variant == "enron":
            raw = raw.assign(text=raw["subject"] + "\n" + raw["body"])
        return raw.rename(columns={"sms": "text"}).loc[:, ["text", "label"]]
