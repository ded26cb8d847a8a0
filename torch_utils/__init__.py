"""Torch helpers that know nothing of GANs."""
