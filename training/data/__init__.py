"""Data sets: archive format, foreign sources, conversion, torch data set and loaders."""
