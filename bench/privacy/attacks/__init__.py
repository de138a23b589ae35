"""Attacks: each gives every candidate a score that is larger where membership is more likely."""
