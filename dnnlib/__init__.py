"""Support code without torch: configs, safe files, downloads, logging, command-line types."""

from dnnlib.config import Config
from dnnlib.errors import RunError, UserError

__all__ = ["Config", "RunError", "UserError"]
