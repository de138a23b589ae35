"""Toolkit of methods that ask a language model."""

# ruff: noqa: F401 - what is imported here is what the module offers

from tdbench.bench.models.llm.client import Sampling
from tdbench.bench.models.llm.generate import AskedVariations
from tdbench.bench.models.llm.method import LLMConfig, LLMMethod, NamesModels, Questions, Session, llm_card
from tdbench.bench.models.llm.parsing import read_object
from tdbench.bench.models.llm.prompts import (
    Brief,
    ask_for_better,
    ask_for_concepts,
    ask_for_features,
    ask_for_texts,
    ask_for_values,
    keywords,
)
