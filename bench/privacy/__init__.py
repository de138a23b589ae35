"""Membership-inference audits: pools, games, attacks, statistics."""
