"""SST-2: sentiment of a movie-review phrase, two classes."""

from __future__ import annotations

from tdbench.api import Facts, HubFiles, StandinSchema, Task


class SST2(Task):
    """Stanford Sentiment Treebank, binary; the test split is GLUE's validation split, as in the literature."""

    name = "sst2"
    text_fields = ("sentence",)
    label_names = ("negative", "positive")
    item, items = "a sentence or phrase of a film review", "sentences or phrases of film reviews"
    classes = ("with a negative opinion of the film", "with a positive opinion of the film")
    public = ("agnews", "imdb", "mnli", "spam", "tweet_emotion")
    facts = Facts(
        title="SST-2",
        licence="none stated; texts by Rotten Tomatoes reviewers, research use",
        citation="Socher et al., 2013, Recursive deep models for semantic compositionality over a sentiment treebank",
        official_rows={"train": 67_349, "test": 872},
    )
    local = {"train": "sst2/train.parquet", "test": "sst2/validation.parquet"}
    hub = HubFiles(
        repo="stanfordnlp/sst2",
        revision="8d51e7e4887a4caaa95b3fbebbf53c0490b58bbb",
        files={"train": "data/train-00000-of-00001.parquet", "test": "data/validation-00000-of-00001.parquet"},
    )
    standin = StandinSchema(text_fields=text_fields, label_names=label_names, style="review")
