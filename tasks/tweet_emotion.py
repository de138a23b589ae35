"""Emotion of a tweet, four classes, small and unbalanced."""

from __future__ import annotations

from tdbench.api import Facts, HubFiles, StandinSchema, Task


class TweetEmotion(Task):
    """TweetEval emotion recognition (SemEval-2018 task 1, four of its emotions)."""

    name = "tweet_emotion"
    metric = "macro_f1_frac"
    text_fields = ("text",)
    label_names = ("anger", "joy", "optimism", "sadness")
    item, items = "a tweet", "tweets"
    classes = ("that expresses anger", "that expresses joy", "that expresses optimism", "that expresses sadness")
    public = ("agnews", "imdb", "mnli", "spam", "sst2")
    facts = Facts(
        title="TweetEval emotion",
        licence="none stated for this part; the terms of Twitter apply",
        citation="Mohammad et al., 2018, SemEval-2018 task 1; Barbieri et al., 2020, TweetEval",
        official_rows={"train": 3_257, "test": 1_421},
    )
    local = {"train": "tweet_emotion/train.parquet", "test": "tweet_emotion/test.parquet"}
    hub = HubFiles(
        repo="cardiffnlp/tweet_eval",
        revision="b3a375baf0f409c77e6bc7aa35102b7b3534f8be",
        files={"train": "emotion/train-00000-of-00001.parquet", "test": "emotion/test-00000-of-00001.parquet"},
    )
    standin = StandinSchema(text_fields=text_fields, label_names=label_names, style="message", mean_words=18)
