"""Heads: the light classifiers that are trained on stored features, in seconds, on a CPU."""
