"""What matching methods share: the source learner with soft inputs, head gradients, distances, projection, ADMM, diagnostics."""
