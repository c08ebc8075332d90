"""Finds the cheapest honest way to run a model on this machine, by making variants and measuring them."""
