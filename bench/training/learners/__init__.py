"""Built-in learners, one a file; found by the registry."""
