"""MNLI: does a premise entail a hypothesis, three classes."""

from __future__ import annotations

from tdbench.api import Facts, HubFiles, StandinSchema, Task


class MNLI(Task):
    """Multi-genre natural language inference; the test split is GLUE's matched validation split, as in the literature."""

    name = "mnli"
    text_fields = ("premise", "hypothesis")
    label_names = ("entailment", "neutral", "contradiction")
    item, items = "a pair of a premise and a hypothesis", "pairs of a premise and a hypothesis"
    classes = (
        "where the premise entails the hypothesis",
        "where the hypothesis may be true or false given the premise",
        "where the hypothesis contradicts the premise",
    )
    public = ("agnews", "imdb", "spam", "sst2", "tweet_emotion")
    facts = Facts(
        title="MNLI (matched)",
        licence="OANC licence, CC BY 3.0 and CC BY-SA 3.0 by part",
        citation="Williams, Nangia and Bowman, 2018, A broad-coverage challenge corpus for sentence understanding",
        official_rows={"train": 392_702, "test": 9_815},
        contamination={"all-MiniLM-L6-v2": "it was trained on MNLI pairs"},
    )
    local = {"train": "mnli/train.parquet", "test": "mnli/validation_matched.parquet"}
    hub = HubFiles(
        repo="nyu-mll/glue",
        revision="bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
        files={
            "train": "mnli/train-00000-of-00001.parquet",
            "test": "mnli/validation_matched-00000-of-00001.parquet",
        },
    )
    standin = StandinSchema(text_fields=text_fields, label_names=label_names, style="pair")
