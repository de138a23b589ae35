"""The grammar of the command line: what an override list becomes, and what it says when it is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tdbench.bench._paths import CONF
from tdbench.bench.config import default_config, options_of, resolved_yaml, settings_for
from tdbench.bench.errors import UsageError
from tdbench.bench.registry import METHODS
from tdbench.bench.settings import BudgetSettings, Protocol, RunSettings, check_values
from tdbench.bench.training.resolve import learner_names, resolve_learner

BASE = ["task=sst2"]
ONE = [*BASE, "method=random", "budget=dpc1"]


def files(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def one(*overrides: str) -> RunSettings:
    (run,) = settings_for([*ONE, *overrides])
    return run


def grid(overrides: list[str], multirun: bool = False) -> list[tuple[str, str, str]]:
    return [(run.task_name, run.method_name, run.budget.name) for run in settings_for(overrides, multirun)]


def refusal(*overrides: str, multirun: bool = False) -> str:
    with pytest.raises(UsageError) as caught:
        settings_for(list(overrides), multirun)
    return str(caught.value)


def plugin_of(method: str) -> str:  # a preset names what it extends
    preset = CONF / "method" / f"{method}.yaml"
    return plugin_of(yaml.safe_load(preset.read_text())["defaults"][0]) if preset.exists() else method


@pytest.mark.parametrize("suite", files("suite"))
def test_a_suite_expands_into_its_methods_and_budgets(suite):
    raw = yaml.safe_load((CONF / "suite" / f"{suite}.yaml").read_text())["suite"]
    plugins = [plugin_of(name) for name in raw["methods"]]
    assert grid([*BASE, f"suite={suite}"]) == [("sst2", name, budget) for name in plugins for budget in raw["budgets"]]


def test_without_a_suite_the_quick_one_runs():
    assert {run.suite.name for run in settings_for(BASE)} == {"quick"}


def test_naming_a_method_keeps_the_budgets_of_the_suite():
    made = grid([*BASE, "suite.budgets=[dpc1,dpc5]", "method=kmeans"])
    assert made == [("sst2", "kmeans", "dpc1"), ("sst2", "kmeans", "dpc5")]


def test_naming_a_budget_keeps_the_methods_of_the_suite():
    made = grid([*BASE, "suite.methods=[random,herding]", "budget=tok250"])
    assert made == [("sst2", "random", "tok250"), ("sst2", "herding", "tok250")]


def test_naming_both_runs_one_cell_whatever_the_suite_says():
    for suite in files("suite"):
        assert grid([*BASE, f"suite={suite}", "method=kcenter", "budget=dpc50"]) == [("sst2", "kcenter", "dpc50")]


def test_an_experiment_replaces_the_grid_and_keeps_the_protocol_of_the_suite():
    runs = settings_for([*BASE, "suite=lite", "experiment=budget_curve"])
    raw = yaml.safe_load((CONF / "experiment" / "budget_curve.yaml").read_text())["suite"]
    assert [(r.method_name, r.budget.name) for r in runs] == [(m, b) for m in raw["methods"] for b in raw["budgets"]]
    assert {run.protocol.name for run in runs} == {"lite-v1"}


def test_an_explicit_protocol_wins_over_the_one_of_the_suite():
    assert one("suite=lite", "protocol=smoke").protocol.name == "smoke"


def test_commas_with_the_multirun_flag_run_every_combination():
    overrides = ["task=sst2,agnews", "method=random,kmeans", "budget=dpc1,dpc10"]
    expected = {(t, m, b) for t in ("sst2", "agnews") for m in ("random", "kmeans") for b in ("dpc1", "dpc10")}
    made = grid(overrides, multirun=True)
    assert sorted(made) == sorted(expected)


def test_a_swept_task_still_expands_the_suite_and_repeats_nothing():
    made = grid(["task=sst2,agnews,sst2", "suite=smoke", "suite.methods=[random,random,kcenter]"], multirun=True)
    assert made == [(task, method, "dpc5") for task in ("sst2", "agnews") for method in ("random", "kcenter")]


def test_a_swept_option_gives_one_run_for_each_value():
    assert [run.seeds for run in settings_for([*ONE, "seeds=1,2"], multirun=True)] == [1, 2]


@pytest.mark.parametrize(
    ("group", "name"),
    [
        (g, n)
        for g in ("suite", "budget", "protocol", "runtime", "experiment", "audit", "method", "task")
        for n in files(g)
    ],
)
def test_every_preset_composes_and_passes_the_value_checks(group, name):
    narrow = [word for word in ONE if not word.startswith(f"{group}=")]
    (run,) = settings_for([*narrow, f"{group}={name}"])
    assert isinstance(run, RunSettings)


def test_every_protocol_is_named_like_its_file():
    for name in files("protocol"):
        assert yaml.safe_load((CONF / "protocol" / f"{name}.yaml").read_text())["name"] == name


@pytest.mark.parametrize("name", files("budget"))
def test_a_budget_holds_the_number_in_its_name(name):
    raw = yaml.safe_load((CONF / "budget" / f"{name}.yaml").read_text())
    budget = BudgetSettings.model_validate(raw)
    kind, number = name[:3], int(name[3:])
    assert (budget.per_class, budget.tokens_per_class) == ((number, None) if kind == "dpc" else (None, number))
    assert budget.name == name


def test_an_overridden_budget_gets_another_name():
    assert one("budget.per_class=3").budget.name == "dpc3"
    assert one("budget.tokens_per_class=90").budget.name == "dpc1-tok90"


@pytest.mark.parametrize("name", files("protocol"))
def test_a_protocol_names_only_learners_that_exist(name):
    protocol = Protocol.model_validate(yaml.safe_load((CONF / "protocol" / f"{name}.yaml").read_text()))
    assert set(protocol.lr) <= set(protocol.learners)
    for learner in {protocol.source, *protocol.learners}:
        assert learner in learner_names()
        resolve_learner(learner)


@pytest.mark.parametrize("method", METHODS.names())
def test_a_plugin_is_a_choice_of_its_group_with_its_own_defaults(method):
    assert method in options_of("method")
    config = METHODS.get(method).Config()
    defaults = json.loads(json.dumps({name: getattr(config, name) for name in type(config).model_fields}))
    assert {k: v for k, v in default_config("method", method).items() if k != "name"} == defaults


def test_learners_is_a_list_that_may_hold_hub_ids():
    assert one("learners=[minilm,hf:some/model]").learners == ("minilm", "hf:some/model")
    assert one().learners is None


def test_the_data_folder_comes_from_the_environment_unless_given(monkeypatch):
    monkeypatch.setenv("TDBENCH_DATA", "/data/a")
    assert one().data.root == Path("/data/a")
    assert one("data.root=/data/b").data.root == Path("/data/b")
    monkeypatch.delenv("TDBENCH_DATA")
    assert one().data.root is None


def test_the_printed_configuration_is_the_one_that_runs():
    raw = yaml.safe_load(resolved_yaml([*ONE, "protocol.steps=7"]))
    assert Protocol.model_validate(raw["protocol"]) == one("protocol.steps=7").protocol
    assert raw["protocol"]["steps"] == 7


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("methd=kmeans", "method"),
        ("protocol.stpes=3", "protocol.steps"),
        ("protocol.sets.second=3", "protocol.sets.seconds"),
        ("protocol.fulll.steps=3", "protocol.full"),
        ("data.kid=local", "data.kind"),
        ("runtime.shrad=1/2", "runtime.shard"),
        ("sede=3", "seeds"),
    ],
)
def test_an_unknown_option_gets_the_nearest_one(override, meant):
    assert f"did you mean '{meant}'" in refusal(*ONE, override)


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("task=sst", "sst2"),
        ("method=kmens", "kmeans"),
        ("budget=dpc11", "dpc1"),
        ("protocol=quick", "quick-v1"),
        ("suite=quik", "quick"),
        ("runtime=defualt", "default"),
        ("audit=non", "none"),
        ("experiment=budget_curv", "budget_curve"),
    ],
)
def test_an_unknown_choice_gets_the_nearest_one(override, meant):
    assert f"did you mean '{meant}'" in refusal(*BASE, override)


def test_an_unknown_choice_inside_a_sweep_gets_the_nearest_one():
    assert "did you mean 'kmeans'" in refusal(*BASE, "method=random,kmens", multirun=True)


@pytest.mark.parametrize("override", ["method.rho=0.1", "+method.rho=0.1"])
def test_an_option_that_the_method_does_not_have_is_refused(override):
    assert "method.rho" in refusal(*ONE, override)


@pytest.mark.parametrize(
    ("override", "option", "got", "expected"),
    [
        ("protocol.steps=abc", "protocol.steps", "'abc'", "integer"),
        ("protocol.steps=0", "protocol.steps", "0", "greater than 0"),
        ("protocol.warmup_frac=1", "protocol.warmup_frac", "1", "less than 1"),
        ("protocol.weight_decay=nan", "protocol.weight_decay", "nan", "finite|greater"),
        ("+protocol.full.epochs=3", "protocol.full", "{", "either steps or epochs"),
        ("seeds=-1", "seeds", "-1", "greater than 0"),
        ("sets=1.5", "sets", "1.5", "integer"),
        ("data.kind=web", "data.kind", "'web'", "'auto', 'local', 'hub' or 'standin'"),
        ("runtime.device=tpu", "runtime.device", "'tpu'", "'auto', 'cpu', 'cuda' or 'cuda:<number>'"),
        ("runtime.max_failures=0", "runtime.max_failures", "0", "greater than 0"),
        ("learners=minilm", "learners", "'minilm'", "learners=[A,B]"),
        ("budget.per_class=-3", "budget.per_class", "-3", "greater than 0"),
    ],
)
def test_a_bad_value_is_refused_with_the_option_what_it_got_and_what_was_expected(override, option, got, expected):
    message = refusal(*ONE, "protocol=lite-v1", override)
    assert message.startswith(f"{option}: got {got}")
    assert any(part in message for part in expected.split("|"))


def test_an_option_of_a_plugin_is_checked_by_the_plugins_own_model():
    class Config(METHODS.get("random").Config):
        rho: float = 0.5

    with pytest.raises(UsageError, match=r"method\.rho: got 'x'; .*number"):
        check_values(Config, {"rho": "x"}, "method.")


@pytest.mark.parametrize("override", ["task=sst2,agnews", "method=random,kmeans", "budget=dpc1,dpc5", "seeds=1,2"])
def test_a_comma_without_the_multirun_flag_says_add_it(override):
    others = [word for word in ONE if word.split("=")[0] != override.split("=")[0]]
    assert f"add -m to run them all: tdbench run -m {override}" in refusal(*others, override)


@pytest.mark.parametrize("overrides", [[], ["method=kmeans"], ["suite=lite"]])
def test_a_missing_task_is_asked_for_with_the_known_ones(overrides):
    assert "agnews" in refusal(*overrides).partition("add task=NAME")[2]


@pytest.mark.parametrize("word", ["kmeans", "learners=[minilm", "method==kmeans="])
def test_a_word_that_is_no_override_is_refused_with_an_example(word):
    assert "Expected overrides such as" in refusal(*ONE, word)


@pytest.mark.parametrize(("shard", "expected"), [("1/1", (1, 1)), ("2/3", (2, 3)), ("3/3", (3, 3))])
def test_a_shard_names_a_slice_of_n(shard, expected):
    assert one(f"runtime.shard={shard}").runtime.shard_of == expected


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1/0", "-1/3", "x", "1/", "/2", "a/b", "1/2/3", "1.5/3"])
def test_a_shard_outside_its_range_is_refused(shard):
    message = refusal(*ONE, f"runtime.shard={shard}")
    assert "runtime.shard" in message
    assert "k from 1 to n" in message


def test_options_that_came_later_stand_in_the_configuration_with_the_defaults_of_their_fields():
    later = {
        name: f.get_default() for name, f in Protocol.model_fields.items() if not f.is_required() and name != "full"
    }
    assert yaml.safe_load((CONF / "config.yaml").read_text())["protocol"] == later


def test_an_option_that_came_later_is_in_content_and_hash_only_where_it_is_used():
    plain = one("protocol=lite-v1")
    mixed = one("protocol=lite-v1", "protocol.real_per_class=2")
    assert not {"real_per_class", "max_length_of"} & set(plain.protocol.content)
    assert mixed.protocol.content == {**plain.protocol.content, "real_per_class": 2}
    assert mixed.protocol.sha256 != plain.protocol.sha256
