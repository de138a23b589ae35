"""Times one target model, trained and tested, by the engine and by the transformers Trainer, at equal hyper-parameters.

    python benchmarks/engine.py [--rounds 3] [--short] [--json]      # needs: pip install "accelerate>=1.1"
    python benchmarks/engine.py --scaling                            # the engine alone: set sizes, learners, test rows

The job: MiniLM with a mean-pooling head, AG News, 10 random texts a class, 200 steps of the whole set, 7,600 test rows, length 128.
Contenders: `default`, Trainer with its default arguments in float32; `best`, Trainer with bf16 (in evaluation throughout), fused AdamW,
large evaluation batches and a length-sorted test set; `engine`. Every run is a process of its own; contenders alternate. The first round
is the whole job and gives the accuracies; later ones are a fifth of it (all with --short), and times are medians over the rounds, scaled
to the whole job. Tokenising and loading are timed apart, as all contenders do the same. The matmul rate is measured by every engine
process after its job: the linear layers of MiniLM on 4,096 tokens, forward, in the engine's number format.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

CONTENDERS = ("default", "best", "engine")
STEPS, TEST_ROWS, LENGTH, PER_CLASS = 200, 7_600, 128, 10
MODEL, LR = "all-MiniLM-L6-v2", 1e-4


def load(per_class: int = PER_CLASS, test_rows: int = TEST_ROWS) -> tuple[str, Any, Any]:
    """Returns the kind of data, the distilled texts and the test rows; the stand-in corpus where the real one is missing."""
    from jobs import agnews, random_texts

    data = agnews()
    test = data.test.take(range(min(len(data.test), test_rows)))
    return data.data_kind, random_texts(data.train, per_class, seed=0), test


def processor() -> str:
    """Returns the processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def run_engine(train: Any, test: Any, steps: int) -> dict[str, Any]:
    """Trains and tests with the engine."""
    import torch

    from tdbench.bench.cost import CostMeter
    from tdbench.bench.distilled import DistilledSet
    from tdbench.bench.training import engine
    from tdbench.bench.training.modules import MeanPooledClassifier, load_backbone, tokenizer_for
    from tdbench.bench.training.prepared import Prepared
    from tdbench.bench.training.recipe import Recipe
    from tdbench.bench.training.training_set import TrainContext, TrainingSet

    clock = Clock()
    tokenize = tokenizer_for(MODEL)
    encoded, encoded_test = (tokenize(text.fields, LENGTH) for text in (train, test))
    clock.lap("tokenize_s")
    torch.manual_seed(0)
    module = MeanPooledClassifier(load_backbone(MODEL), train.n_classes, 0.1)
    clock.lap("load_s")
    recipe = Recipe(LENGTH, steps, 64, LR, 0.01, 1.0, 0.5)
    context = TrainContext(0, "cpu", CostMeter())
    data = TrainingSet.of(DistilledSet.from_rows(train, list(range(len(train)))), train)
    ready = Prepared(module, "cpu")
    with context.cost.phase("train"):
        engine.train(ready, encoded, data, recipe, context)
    clock.lap("train_s")
    with context.cost.phase("test"):
        logits_NC = engine.predict(ready, encoded_test, context.cost)
    clock.lap("test_s")
    train_flops, test_flops = (phase.flops or 0.0 for phase in context.cost.phases)
    times = clock.times
    rates = {"train_flops_per_s": train_flops / times["train_s"], "test_flops_per_s": test_flops / times["test_s"]}
    accuracy = float((logits_NC.numpy().argmax(1) == test.labels_N).mean())
    return {**times, **rates, "accuracy": accuracy, "matmul_flops_per_s": matmul_rate(ready.dtype)}


def matmul_rate(dtype: Any) -> float:
    """Measures the linear layers of MiniLM on 4,096 tokens: operations a second, the better of torch's and oneDNN's layout, best of ten."""
    import torch

    from tdbench.bench.training.packed_layer import linear

    shapes = ((384, 1_152), (384, 384), (384, 1_536), (1_536, 384))
    layers = [
        (torch.randn(4_096, width).to(dtype), torch.randn(out, width).to(dtype), torch.zeros(out, dtype=dtype))
        for width, out in shapes
    ]
    seconds = []
    with torch.inference_mode():  # makes `linear` use oneDNN's layout
        for product in (linear, lambda x, weight, _: x @ weight.t()):
            for _ in range(12):
                start = time.perf_counter()
                for layer in layers:
                    product(*layer)
                seconds.append(time.perf_counter() - start)
    return 2 * 4_096 * sum(width * out for width, out in shapes) / min(seconds)


def run_trainer(train: Any, test: Any, steps: int, best: bool) -> dict[str, Any]:
    """Trains and tests with the transformers Trainer."""
    import numpy as np
    import torch
    from torch import nn
    from transformers import AutoTokenizer, DataCollatorWithPadding, Trainer, TrainingArguments
    from transformers.modeling_outputs import SequenceClassifierOutput

    from tdbench.bench.models.resolve import resolve
    from tdbench.bench.training.modules import MeanPooledClassifier, load_backbone

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = MeanPooledClassifier(load_backbone(MODEL), train.n_classes, 0.1)

        def forward(self, labels: torch.Tensor, **batch: torch.Tensor) -> SequenceClassifierOutput:
            logits_BC = self.inner(**batch)
            return SequenceClassifierOutput(loss=nn.functional.cross_entropy(logits_BC, labels), logits=logits_BC)

    clock = Clock()
    tokenizer = AutoTokenizer.from_pretrained(resolve(MODEL))

    def rows(text: Any) -> Any:
        made = tokenizer(text.joined(), truncation=True, max_length=LENGTH)
        columns = zip(made["input_ids"], made["attention_mask"], text.labels_N.tolist(), strict=True)
        return [{"input_ids": ids, "attention_mask": mask, "labels": label} for ids, mask, label in columns]

    train_rows, test_rows = rows(train), rows(test)
    if best:
        test_rows.sort(key=lambda row: -len(row["input_ids"]))
    clock.lap("tokenize_s")
    torch.manual_seed(0)
    model = Classifier()
    clock.lap("load_s")
    faster: dict[str, Any] = {
        "bf16": True,
        "bf16_full_eval": True,
        "optim": "adamw_torch_fused",
        "per_device_eval_batch_size": 64,
    }
    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        max_steps=steps,
        per_device_train_batch_size=len(train),
        learning_rate=LR,
        weight_decay=0.01,
        lr_scheduler_type="cosine",
        warmup_steps=steps // 2,
        use_cpu=True,
        save_strategy="no",
        report_to=[],
        remove_unused_columns=False,
        disable_tqdm=True,
        **(faster if best else {}),
    )
    trainer = Trainer(
        model=model, args=arguments, train_dataset=train_rows, data_collator=DataCollatorWithPadding(tokenizer)
    )
    trainer.train()
    clock.lap("train_s")
    out = trainer.predict(test_rows)
    clock.lap("test_s")
    return {**clock.times, "accuracy": float((np.argmax(out.predictions, 1) == out.label_ids).mean())}


class Clock:
    """Wall time between laps."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, name: str) -> None:
        """Books the time since the last lap."""
        now = time.perf_counter()
        self.times[name], self._since = now - self._since, now


def work(contender: str, steps: int, test_rows: int) -> dict[str, Any]:
    """Runs one contender in this process."""
    import torch

    kind, train, test = load(test_rows=test_rows)
    best = contender == "best"
    made = run_engine(train, test, steps) if contender == "engine" else run_trainer(train, test, steps, best)
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024 / 1e9
    where = {"data": kind, "torch": torch.__version__, "threads": torch.get_num_threads(), "machine": processor()}
    return {**made, **where, "contender": contender, "steps": steps, "test_rows": len(test), "peak_rss_gb": peak_gb}


def start(contender: str, short: bool, same_environment: bool) -> dict[str, Any]:
    """Runs one contender in a process of its own; only the engine's has the settings that importing `bench` makes, unless told so."""
    environment = dict(os.environ)
    if contender != "engine" and not same_environment:
        # What torch does by itself: the values stand in for "not set", which importing `bench` would overwrite.
        environment |= {"GOMP_SPINCOUNT": "300000", "THP_MEM_ALLOC_ENABLE": "0"}
    sizes = (STEPS // 5, TEST_ROWS // 5) if short else (STEPS, TEST_ROWS)
    command = [sys.executable, __file__, "--worker", contender, "--steps", str(sizes[0]), "--test-rows", str(sizes[1])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"the {contender} run failed:\n{done.stderr[-2_000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns medians, ratios and shares."""
    table: dict[str, dict[str, float]] = {}
    for contender in CONTENDERS:
        own = [run for run in runs if run["contender"] == contender]
        train_s = STEPS * median(run["train_s"] / run["steps"] for run in own)
        test_s = TEST_ROWS * median(run["test_s"] / run["test_rows"] for run in own)
        others = {name: median(run[name] for run in own) for name in ("tokenize_s", "load_s", "peak_rss_gb")}
        table[contender] = {"train_s": train_s, "test_s": test_s, "total_s": train_s + test_s, **others}
    engine = [run for run in runs if run["contender"] == "engine"]

    def ratio(contender: str, part: str) -> float:
        return table[contender][part] / table["engine"][part]

    return {
        **{
            f"{part}_ratio_{name}": ratio(name, f"{part}_s")
            for part in ("total", "train", "test")
            for name in CONTENDERS[:2]
        },
        "test_matmul_share": median(run["test_flops_per_s"] / run["matmul_flops_per_s"] for run in engine),
        "train_matmul_share": median(run["train_flops_per_s"] / run["matmul_flops_per_s"] for run in engine),
        "matmul_tflops": median(run["matmul_flops_per_s"] for run in engine) / 1e12,
        **{name: runs[0][name] for name in ("data", "torch", "threads", "machine")},
        "accuracy": {run["contender"]: run["accuracy"] for run in runs if run["steps"] == STEPS},
        "seconds": table,
        "rounds": runs,
    }


def scaling() -> list[dict[str, Any]]:
    """Times the engine alone at several set sizes, learners and numbers of test rows; lite-v1's length, 100 steps."""
    from tdbench.bench.cost import CostMeter
    from tdbench.bench.distilled import DistilledSet
    from tdbench.bench.training.recipe import Recipe
    from tdbench.bench.training.resolve import resolve_learner
    from tdbench.bench.training.training_set import TrainContext, TrainingSet

    cases = [("minilm", size, 2_000) for size in (1, 10, 50)] + [("minilm", 10, 7_600)]
    cases += [(name, size, 2_000) for name in ("textcnn", "bilstm", "bow-logreg") for size in (1, 10, 50)]
    rows = []
    for name, size, test_rows in cases:
        _, train, test = load(size, test_rows)
        context = TrainContext(0, "cpu", CostMeter())
        data = TrainingSet.of(DistilledSet.from_rows(train, list(range(len(train)))), train)
        resolve_learner(name).fit_predict(data, test, Recipe(64, 100, 64, LR, 0.01, 1.0, 0.5), context)
        spent = {phase.phase: round(phase.wall_s or 0.0, 2) for phase in context.cost.phases}
        rows.append({"learner": name, "texts": len(train), "test_rows": len(test), **spent})
    return rows


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", action="store_true")
    parser.add_argument(
        "--same-environment", action="store_true", help="give the Trainer the engine's OpenMP and page settings"
    )
    parser.add_argument("--scaling", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--test-rows", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        print(json.dumps(work(given.worker, given.steps, given.test_rows)))
        return
    if given.scaling:
        print(json.dumps(scaling(), indent=None if given.json else 1))
        return
    runs = []
    for index in range(given.rounds):
        for contender in CONTENDERS:
            runs.append(start(contender, given.short or index > 0, given.same_environment))
            if not given.json:
                print({k: round(v, 3) if isinstance(v, float) else v for k, v in runs[-1].items()}, flush=True)
    print(json.dumps(summarise(runs), indent=None if given.json else 1))


if __name__ == "__main__":
    main()
