"""Pictures, videos and styles of a trained network."""

from training.generation.load import LoadedGenerator, load_generator

__all__ = ["LoadedGenerator", "load_generator"]
