"""Options that methods of a family share: subclass them as the method's `Config`. They import no torch, the toolkits that read them do."""

# ruff: noqa: F401 - what is imported here is what the module offers

from tdbench.bench.matching.options import EncodersConfig, ExpertsConfig, LearnedTrainingConfig, SynthesisConfig
