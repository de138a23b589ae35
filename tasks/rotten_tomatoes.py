"""Rotten Tomatoes: the development task on which protocol settings were chosen."""

from __future__ import annotations

from tdbench.api import Facts, HubFiles, StandinSchema, Task


class RottenTomatoes(Task):
    """Sentiment of a movie-review sentence. Learning rates were chosen here, so it appears on no leaderboard."""

    name = "rotten_tomatoes"
    text_fields = ("text",)
    label_names = ("negative", "positive")
    item, items = "a sentence of a film review", "sentences of film reviews"
    classes = ("with a negative opinion of the film", "with a positive opinion of the film")
    public = ("agnews", "imdb", "mnli", "spam", "tweet_emotion")
    facts = Facts(
        title="Rotten Tomatoes",
        licence="none stated; research use",
        citation="Pang and Lee, 2005, Seeing stars",
        official_rows={"train": 8_530, "test": 1_066},
        development=True,
    )
    local = {"train": "rotten_tomatoes/train.parquet", "test": "rotten_tomatoes/test.parquet"}
    hub = HubFiles(
        repo="cornell-movie-review-data/rotten_tomatoes",
        revision="aa13bc287fa6fcab6daf52f0dfb9994269ffea28",
        files={"train": "train.parquet", "test": "test.parquet"},
    )
    standin = StandinSchema(text_fields=text_fields, label_names=label_names, style="review", material=1)
