"""Exceptions that scripts tell in one line."""


class UserError(ValueError):
    """Something the user got wrong, told in one line.

    The message names the flag or file, the rule, what was found and what to do. Scripts print it
    without a traceback and exit with status 2 (see `dnnlib.cli.run`).
    """


class RunError(RuntimeError):
    """A run that cannot go on through no wrong input, told in one line; exit status 1."""
