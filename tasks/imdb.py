"""IMDB: sentiment of a movie review, two classes, long texts."""

from __future__ import annotations

from tdbench.api import Facts, HubFiles, StandinSchema, Task


class IMDB(Task):
    """Large movie review data set; texts as released, line-break marks included."""

    name = "imdb"
    text_fields = ("text",)
    label_names = ("negative", "positive")
    item, items = "a film review", "film reviews"
    classes = ("with a negative opinion of the film", "with a positive opinion of the film")
    public = ("agnews", "mnli", "spam", "sst2", "tweet_emotion")
    facts = Facts(
        title="IMDB",
        licence="none stated; research use with citation",
        citation="Maas et al., 2011, Learning word vectors for sentiment analysis",
        official_rows={"train": 25_000, "test": 25_000},
    )
    local = {"train": "imdb/train.parquet", "test": "imdb/test.parquet"}
    hub = HubFiles(
        repo="stanfordnlp/imdb",
        revision="e6281661ce1c48d982bc483cf8a173c1bbeb5d31",
        files={
            "train": "plain_text/train-00000-of-00001.parquet",
            "test": "plain_text/test-00000-of-00001.parquet",
        },
    )
    standin = StandinSchema(
        text_fields=text_fields,
        label_names=label_names,
        style="review",
        mean_words=230,
        topic_share_frac=0.15,
        material=2,
    )
