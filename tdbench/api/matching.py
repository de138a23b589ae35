"""Toolkit of methods that match features, gradients or trajectories. Imports torch: import from it inside functions."""

# ruff: noqa: F401 - what is imported here is what the module offers

from tdbench.bench.matching.alignment import choose_aligned, median_distance
from tdbench.bench.matching.clusters import Groups, cluster, halves, head_path, train_head, trained_heads
from tdbench.bench.matching.encoder_ensemble import encoder_ensemble, perturbed_encoder
from tdbench.bench.matching.experts import ExpertBuffer, head_expert, whole_expert
from tdbench.bench.matching.fit import AdmmOptions, Reading, fit_vectors
from tdbench.bench.matching.gradients import (
    Head,
    HeadGradients,
    Heads,
    distances,
    every_distance,
    gradient_distances,
    head_gradients,
    random_texts,
)
from tdbench.bench.matching.initialisation import mean_vectors, text_of, vectors_of, words_of
from tdbench.bench.matching.learned_training import LearnedTraining, NewHeads, as_text
from tdbench.bench.matching.outer import RealLoss
from tdbench.bench.matching.parameters import WeightGradients, between
from tdbench.bench.matching.problem import MatchingProblem, make_problem, subsample
from tdbench.bench.matching.samples import Writer, first_of_classes, medoids_of, sample_medoids
from tdbench.bench.matching.source import SourceModel
from tdbench.bench.matching.synthesis import synthesise
from tdbench.bench.matching.unroll import Back, Unrolled, unroll, unroll_head
