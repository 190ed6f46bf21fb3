"""Measurements: figures side by side in one run, as ratios, since machines differ and are noisy."""
