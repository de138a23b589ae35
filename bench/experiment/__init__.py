"""Plan, run and record experiments."""
