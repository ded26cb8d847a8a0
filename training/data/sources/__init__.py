"""Foreign data that can be converted: each kind is one module with random access to its images."""

from training.data.sources.base import Source
from training.data.sources.kinds import SOURCE_KINDS, open_source
from training.data.sources.options import SourceOptions
from training.data.sources.place import BUILTIN

__all__ = ["BUILTIN", "SOURCE_KINDS", "Source", "SourceOptions", "open_source"]
