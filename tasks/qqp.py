"""QQP: do two questions ask the same, two classes."""

from __future__ import annotations

from tdbench.api import Facts, HubFiles, StandinSchema, Task


class QQP(Task):
    """Quora question pairs; the test split is GLUE's validation split, as in the literature."""

    name = "qqp"
    text_fields = ("question1", "question2")
    label_names = ("not_duplicate", "duplicate")
    item, items = "a pair of questions", "pairs of questions"
    classes = ("that ask different things", "that ask the same thing in other words")
    public = ("agnews", "imdb", "mnli", "spam", "sst2", "tweet_emotion")
    facts = Facts(
        title="QQP",
        licence="Quora terms of service, non-commercial use",
        citation="Iyer, Dandekar and Csernai, 2017, First Quora dataset release: question pairs; GLUE: Wang et al., 2018",
        official_rows={"train": 363_846, "test": 40_430},
        contamination={"all-MiniLM-L6-v2": "it was trained on Quora question pairs"},
    )
    local = {"train": "qqp/train_subset.parquet", "test": "qqp/validation_subset.parquet"}
    hub = HubFiles(
        repo="nyu-mll/glue",
        revision="bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
        files={"train": "qqp/train-00000-of-00001.parquet", "test": "qqp/validation-00000-of-00001.parquet"},
    )
    standin = StandinSchema(text_fields=text_fields, label_names=label_names, style="pair")
