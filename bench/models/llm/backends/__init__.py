"""Language-model backends, one module each."""
