"""Toolkit of private methods that train a model, or start from public texts."""

# ruff: noqa: F401 - what is imported here is what the module offers

from tdbench.bench.models.public_rows import PublicRows, public_rows
from tdbench.bench.privacy.accounting import Mechanism
from tdbench.bench.privacy.trained import TrainedConfig, TrainedMethod, TrainingConfig, train_privately
