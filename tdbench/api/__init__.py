"""Contract of plug-ins: what an ordinary task, method or learner imports. Toolkits of method families are modules beside it."""

# ruff: noqa: F401 - what is imported here is what the module offers

from tdbench.bench.budget import Budget
from tdbench.bench.canonical import sha256_file
from tdbench.bench.card import Estimate, MethodCard, MethodConfig, Skip
from tdbench.bench.context import Context
from tdbench.bench.data.set_files import Schema, read_set
from tdbench.bench.data.standin import StandinSchema
from tdbench.bench.data.task import Facts, HubFiles, Task, TaskConfig
from tdbench.bench.data.text import LabelledText, normalised
from tdbench.bench.distilled import DistilledSet, Schedule, SoftInputs
from tdbench.bench.errors import DataError, PrerequisiteError, UsageError
from tdbench.bench.method import Method
from tdbench.bench.privacy.oracle import PrivateOracle, Query
from tdbench.bench.privacy.private_method import PrivateConfig, PrivateMethod
from tdbench.bench.selection import kmeans_rows
from tdbench.bench.training.batches import Encoded
from tdbench.bench.training.learner import Learner, LearnerConfig
from tdbench.bench.training.recipe import Recipe
from tdbench.bench.training.torch_learner import TorchLearner
from tdbench.bench.training.training_set import TrainContext, TrainingSet
