"""Weights and encoders."""
