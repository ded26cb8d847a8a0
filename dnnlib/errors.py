"""The one exception that means: the user can mend this."""


class UserError(ValueError):
    """Something the user got wrong, told in one line.

    The message names the flag or file, the rule, what was found and what to do. Scripts print it
    without a traceback and exit with status 2 (see `dnnlib.cli.run`).
    """
