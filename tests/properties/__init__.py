"""Histories: plans that Hypothesis draws, runs that are recorded, and one judge for all of them."""
