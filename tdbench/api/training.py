"""Toolkit of methods that train or sample a model of their own. Imports torch: import from it inside functions."""

# ruff: noqa: F401 - what is imported here is what the module offers

from tdbench.bench.canonical import content_id
from tdbench.bench.cost import CostMeter
from tdbench.bench.kept import kept
from tdbench.bench.models.class_lm import RowLM
from tdbench.bench.models.prompted import label_tokens
from tdbench.bench.models.row_generator import RowGenerator
from tdbench.bench.models.task_lm import TaskLM, Vocabulary
from tdbench.bench.models.variations import Continuations, MaskedEdits, PublicContinuations, Varies
from tdbench.bench.privacy.training import Batch, RowModel, TrainingOptions, train_rows
from tdbench.bench.training.inner import InnerLoop, InnerModel
