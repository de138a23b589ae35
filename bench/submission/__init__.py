"""Submissions: collecting results, and checking those of others without running any of their code."""
