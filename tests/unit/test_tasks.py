"""The built-in tasks: files without an official split, preprocessing of local folders, stand-ins, what a reader must know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tdbench.bench.config import settings_for
from tdbench.bench.data.loading import load_task
from tdbench.bench.data.task import Facts, Task
from tdbench.bench.data.text import normalised
from tdbench.bench.errors import DataError, PrerequisiteError
from tdbench.bench.registry import TASKS


def load(name: str, root: Path, **options: Any) -> Any:
    plugin = TASKS.get(name)
    return load_task(plugin(plugin.Config(**options)), "local", root)


def write(root: Path, name: str, frame: pd.DataFrame) -> None:
    path = root / name
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)


def messages(n_rows: int) -> pd.DataFrame:
    return pd.DataFrame(
        {"text": [f"message {i}" for i in range(n_rows)], "label": [int(i % 5 == 0) for i in range(n_rows)]}
    )


def all_rows(data: Any) -> list[Any]:
    return [data.train, data.validation, data.test]


def test_data_without_an_official_split_are_split_in_every_class_and_the_note_says_so(tmp_path):
    write(tmp_path, "sms_spam/all.parquet", messages(500))
    data = load("spam", tmp_path)
    assert [len(split) for split in all_rows(data)] == [360, 40, 100]
    assert [int(split.labels_N.sum()) for split in all_rows(data)] == [72, 8, 20]
    rows = [set(split.row_ids_N.tolist()) for split in all_rows(data)]
    assert set.union(*rows) == set(range(500))
    assert data.train.fields["text"][7] == f"message {data.train.row_ids_N[7]}"
    assert "no official split: 0 of 500 texts left out" in data.notes[-1]
    assert load("spam", tmp_path).fingerprint == data.fingerprint


def test_repeats_empty_texts_and_texts_of_two_labels_are_left_out(tmp_path):
    extra = [("Message  3", 0), ("MESSAGE 3", 0), ("both", 0), ("Both", 1), ("  ", 0), ("", 1)]
    frame = pd.concat([messages(100), pd.DataFrame(extra, columns=["text", "label"])], ignore_index=True)
    write(tmp_path, "sms_spam/all.parquet", frame)
    data = load("spam", tmp_path)
    texts = [normalised(text) for split in all_rows(data) for text in split.joined()]
    assert len(texts) == len(set(texts)) == 100
    assert not {"both", ""} & set(texts)
    assert "6 of 106 texts left out" in data.notes[-1]


def test_a_split_file_that_is_a_subset_is_called_one(tmp_path):
    write(tmp_path, "sms_spam/all.parquet", messages(500))
    data = load("spam", tmp_path)
    assert data.data_kind == "real-subset"
    assert "all is a SUBSET: 500 of the official 5,574 rows" in data.notes[0]


def test_a_whole_file_that_is_split_is_no_subset(tmp_path):
    write(tmp_path, "sms_spam/all.parquet", messages(5_574))
    assert load("spam", tmp_path).data_kind == "real"


def test_enron_joins_subject_and_body_and_has_facts_of_its_own(tmp_path):
    frame = messages(60).rename(columns={"text": "body"}).assign(subject="Re: this")
    write(tmp_path, "spam_email/enron_spam_all.parquet", frame)
    data = load("spam", tmp_path, variant="enron")
    assert set(data.train.fields["text"]) <= {f"Re: this\nmessage {i}" for i in range(60)}
    assert data.task.facts.title == "Enron-Spam"
    assert data.task.hub is None
    plain = TASKS.get("spam")()
    assert plain.facts.title == "SMS Spam"
    assert plain.standin != data.task.standin


def test_the_hub_file_of_messages_has_another_column(tmp_path):
    raw = messages(10).rename(columns={"text": "sms"})
    assert TASKS.get("spam")().frame(raw)["text"].tolist() == messages(10)["text"].tolist()


def test_a_variant_is_an_option_of_the_command_line():
    (one,) = settings_for(["task=spam", "task.variant=enron", "method=random", "budget=dpc1"])
    assert one.task_options == {"variant": "enron"}


def mail(tag: str, n_rows: int = 40) -> pd.DataFrame:
    body = [f"Visit http://{tag}.com/a={i} NOW!\nOnly {i} €" for i in range(n_rows)]
    return pd.DataFrame({"sender": "x", "subject": "Hello, You", "body": body, "label": [i % 2 for i in range(n_rows)]})


def test_phishing_mail_is_cleaned_as_in_the_paper(tmp_path):
    for tag in ("CEAS_08", "Ling", "Nazario", "Nigerian_Fraud", "SpamAssasin"):
        write(tmp_path, f"phishing/{tag}.csv", mail(tag.replace("_", "").lower()))
    data = load("phishing", tmp_path)
    assert sum(len(split) for split in all_rows(data)) == 200
    row = int(np.flatnonzero(data.train.row_ids_N == data.train.row_ids_N.min())[0])
    first = int(data.train.row_ids_N[row])
    assert data.train.fields["text"][row] == f"hello you: visit http://ceas08.com/a={first} now only {first} "
    assert data.train.labels_N[row] == first % 2


def test_words_that_pandas_would_take_for_nothing_stay_text(tmp_path):
    frame = pd.DataFrame(
        {"text": ["NA", "007", "null", "true"] * 10, "label": ["self.depression", "self.Anxiety"] * 20}
    )
    frame["text"] += [f" {i}" if i > 3 else "" for i in range(40)]
    names = [f"self.{name}" for name in TASKS.get("swmh").label_names] * 4
    for split in ("train", "test"):
        extra = pd.DataFrame({"text": [f"{split} {i}" for i in range(20)], "label": names})
        write(tmp_path, f"swmh/{split}.csv", pd.concat([frame, extra]))
    data = load("swmh", tmp_path)
    assert {"NA", "007", "null", "true"} <= {text for split in all_rows(data) for text in split.joined()}
    assert np.bincount(data.test.labels_N).tolist() == [24, 4, 24, 4, 4]


def test_an_unknown_community_is_named(tmp_path):
    for split in ("train", "test"):
        write(tmp_path, f"swmh/{split}.csv", pd.DataFrame({"text": ["a"], "label": ["self.cooking"]}))
    with pytest.raises(DataError, match="label 'cooking' is none of Anxiety, bipolar"):
        load("swmh", tmp_path)


def test_app_reviews_are_cut_down_to_equal_classes(tmp_path):
    counts = (40, 30, 20, 50, 60)
    label = np.repeat(np.arange(5), counts)
    review = [f"Review {i}" for i in range(len(label))]
    review[100], review[101] = None, " "
    for split in ("train", "test"):
        write(tmp_path, f"thumbsup/{split}.parquet", pd.DataFrame({"review": review, "label": label, "votes": 1}))
    data = load("thumbsup", tmp_path)
    assert np.bincount(data.test.labels_N).tolist() == [20] * 5
    assert data.test.joined()[0] == f"review {data.test.row_ids_N[0]}"
    assert len(data.train) + len(data.validation) == 100


def test_drug_reviews_keep_ratings_one_to_five_in_equal_numbers(tmp_path):
    rating = ["1", "2", "3", "4", "5", "6", "10"] * 30
    reviews = [f"Helped {i}" for i in range(len(rating))]
    reviews[0] = " "  # an empty text, which the harness leaves out
    write(tmp_path, "webmd/webmd.csv", pd.DataFrame({"Reviews": reviews, "Satisfaction": rating, "Age": "35-44"}))
    data = load("webmd", tmp_path)
    labels = np.concatenate([split.labels_N for split in all_rows(data)])
    assert np.bincount(labels).tolist() == [29] * 5
    ids = np.concatenate([split.row_ids_N for split in all_rows(data)])
    assert [int(rating[row]) - 1 for row in ids] == labels.tolist()


def test_classes_are_equal_after_repeats_were_removed(tmp_path):
    rating = ["1"] * 60 + ["2"] * 40 + ["3"] * 40 + ["4"] * 40 + ["5"] * 40
    reviews = ["great"] * 30 + [f"Helped {i}" for i in range(190)]
    write(tmp_path, "webmd/webmd.csv", pd.DataFrame({"Reviews": reviews, "Satisfaction": rating}))
    data = load("webmd", tmp_path)
    labels = np.concatenate([split.labels_N for split in all_rows(data)])
    assert np.bincount(labels).tolist() == [31] * 5
    assert any("cut down to equal classes: 155 of 191 texts" in note for note in data.notes)
    assert load("webmd", tmp_path).fingerprint == data.fingerprint


@pytest.mark.parametrize("index", [[0, 0, 1, 2], ["a", "b", "c", "d"], [0.5, 1.5, 2.5, 3.5]])
def test_row_ids_that_are_no_distinct_integers_are_refused(tmp_path, index):
    class Odd(Task):
        name = "odd"
        text_fields = ("text",)
        label_names = ("a", "b")
        facts = Facts("Odd", "none", "none", {})
        local = {"all": "odd/all.parquet"}

        def frame(self, raw: pd.DataFrame) -> pd.DataFrame:
            return raw.set_axis(index, axis=0)

    write(tmp_path, "odd/all.parquet", messages(4))
    with pytest.raises(DataError, match="distinct integers"):
        load_task(Odd(), "local", tmp_path)


def test_a_missing_label_is_named_by_its_own_row_and_a_column_of_another_type_is_an_error(tmp_path):
    frame = messages(50).astype({"label": object})
    frame.loc[41, "label"] = None
    write(tmp_path, "sms_spam/all.parquet", frame.astype({"label": float}))
    with pytest.raises(DataError, match="row 41 has label nan"):
        load("spam", tmp_path)
    for split in ("train", "test"):
        write(tmp_path, f"thumbsup/{split}.parquet", pd.DataFrame({"review": [1.5, 2.5], "label": [0, 1]}))
    with pytest.raises(DataError, match="wrong type"):
        load("thumbsup", tmp_path)


@pytest.mark.parametrize("name", ["phishing", "swmh", "thumbsup", "webmd"])
@pytest.mark.parametrize("folder", [True, False])
def test_a_task_that_must_be_fetched_by_hand_says_how(tmp_path, name, folder):
    plugin = TASKS.get(name)
    with pytest.raises(PrerequisiteError, match="How to get them") as caught:
        load_task(plugin(), "local", tmp_path if folder else None)
    assert plugin.facts.obtain in str(caught.value)


@pytest.mark.parametrize("name", TASKS.names())
def test_every_task_has_a_stand_in_of_its_schema_and_facts(name):
    task = TASKS.get(name)()
    assert task.standin.text_fields == task.text_fields
    assert task.standin.label_names == task.label_names
    assert task.facts.title
    assert task.facts.licence
    assert task.facts.citation
    data = load_task(task, "standin", None)
    assert data.data_kind == "standin"
    assert set(data.train.fields) == set(task.text_fields)
    assert set(np.bincount(data.test.labels_N) > 0) == {True}
    if task.hub is not None:
        assert len(task.hub.revision) == 40
        assert set(task.hub.files) == set(task.local)


def test_two_tasks_never_share_a_stand_in():
    drawn = [json.dumps(load_task(TASKS.get(n)(), "standin", None).test.joined()[:5]) for n in TASKS.names()]
    assert len(set(drawn)) == len(drawn)


def test_pairs_that_the_source_learner_was_trained_on_are_marked():
    marked = {name: set(TASKS.get(name).facts.contamination) for name in TASKS.names()}
    assert {name for name, learners in marked.items() if learners} == {"mnli", "qqp"}
    assert marked["mnli"] == {"all-MiniLM-L6-v2"}


@pytest.mark.parametrize("splits", [{"train"}, {"train", "test", "all"}, {"train", "dev"}, set()])
def test_a_task_names_train_and_test_or_all(splits):
    class Odd(Task):
        name = "odd"
        text_fields = ("text",)
        label_names = ("a", "b")
        facts = Facts("Odd", "none", "none", {})
        local = dict.fromkeys(splits, "x.parquet")

    assert "expected 'train' and 'test', or 'all' alone" in str(Odd.check_class())


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_files_may_have_three_forms_and_several_parts(tmp_path, suffix):
    parts = (f"odd/a{suffix}", f"odd/b{suffix}")
    frames = messages(30), messages(70).iloc[30:]
    for name, frame in zip(parts, frames, strict=True):
        if suffix == ".jsonl":
            (tmp_path / "odd").mkdir(exist_ok=True)
            frame.to_json(tmp_path / name, orient="records", lines=True)
        else:
            write(tmp_path, name, frame)

    class Odd(Task):
        name = "odd"
        text_fields = ("text",)
        label_names = ("a", "b")
        facts = Facts("Odd", "none", "none", {})
        local = {"all": parts}

        def frame(self, raw: pd.DataFrame) -> pd.DataFrame:
            return raw.astype({"label": int})

    data = load_task(Odd(), "local", tmp_path)
    texts = sorted(text for split in all_rows(data) for text in split.joined())
    assert texts == sorted(messages(70)["text"])
