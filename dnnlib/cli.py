"""Command-line types and the one way our scripts start and end."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import wraps
from itertools import pairwise
from types import FrameType
from typing import Any, Literal, NoReturn, TypeVar, cast, get_args, get_origin

import click

from dnnlib.config import Config, naming_options
from dnnlib.errors import RunError, UserError
from dnnlib.logs import printable, setup_logging

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
EXIT_SIGNAL = 128  # plus the number of the signal, after a clean end
MAX_SEEDS = 10**6

Command = TypeVar("Command", bound=Callable[..., object])

device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
    help="Where to compute; auto takes the fastest there is.",
)


def gpus_option(note: str) -> Callable[[Command], Command]:
    """How many processes work together: `gpus`; `note` says what else there is to know."""
    return click.option(
        "--gpus",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help=f"Processes, a GPU each; with --device cpu they share the processor. {note}",
    )


# --beta_start and --beta-start are the same option.
CONTEXT = {
    "help_option_names": ["-h", "--help"],
    "token_normalize_func": lambda token: token.replace("_", "-"),
    "max_content_width": 100,
}


def run(command: click.Command, args: Sequence[str] | None = None) -> NoReturn:
    """Run a script's command and exit: 0 done, 1 failed, 2 usage, 130 interrupted.

    A `UserError`, a wrong option, or a file that the system refuses gives one line on stderr,
    without a traceback.
    """
    setup_logging()
    signal.signal(signal.SIGTERM, _terminate)
    threading.excepthook = _thread_ended
    typed = sys.argv[1:] if args is None else args
    try:
        _refuse_empty(typed)
        status = command.main(args=list(typed), standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:
        told = told_in_a_line(error)
        if told is None:
            raise
        click.echo(told[0], err=True)
        sys.exit(told[1])
    sys.exit(status if isinstance(status, int) else 0)


def told_in_a_line(error: BaseException) -> tuple[str, int] | None:
    """What a user is told of `error`, and the exit status; None for what wants a traceback."""
    match error:
        case UserError():
            text, status = str(error), EXIT_USAGE
        case RunError():
            text, status = str(error), EXIT_FAILED
        case click.ClickException():
            text, status = error.format_message(), error.exit_code
        case OSError():
            place = "the output" if error.filename is None else os.fsdecode(error.filename)
            text = f"{place}: {error.strerror or error}; check the path and the disk"
            status = EXIT_USAGE
        case click.Abort() | KeyboardInterrupt():
            text, status = "interrupted", EXIT_INTERRUPTED
        case _:
            return None
    return f"Error: {printable(' '.join(text.split()))}", status


def _refuse_empty(args: Sequence[str]) -> None:
    """Raise `click.UsageError` for an empty value, which would mean the current folder."""
    for before, arg in pairwise(["", *args]):
        name = arg.removesuffix("=") if arg.startswith("-") and arg.endswith("=") else before
        if not arg or name != before:
            raise click.UsageError(
                f"{name or 'the first argument'}: is empty, as an unset variable of the shell is; "
                "give a value or leave it out"
            )


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    """Let SIGTERM unwind the stack as Ctrl-C does, so that temporary files go."""
    sys.exit(EXIT_SIGNAL + number)


def _thread_ended(args: threading.ExceptHookArgs) -> None:
    """Show a thread's traceback, but for a disk that refuses: whoever waits for it tells that."""
    if not isinstance(args.exc_value, OSError):
        threading.__excepthook__(args)


class SeedList(click.ParamType[list[int]]):
    """Comma-separated seeds and ranges: '0-35,77' is 0 to 35 inclusive, and 77."""

    name = "seeds"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[int]:
        """Seeds below 2^32, in the order given; a list passes as it is."""
        if isinstance(value, list):
            return value
        seeds: list[int] = []
        for part in str(value).split(","):
            match = re.fullmatch(r"\s*(\d{1,20})(?:-(\d{1,20}))?\s*", part, re.ASCII)
            if match is None:
                self.fail(f"takes numbers and ranges like 0-35,77, found {value!r:.80}", param, ctx)
            first, last = int(match[1]), int(match[2] or match[1])
            if last < first:
                self.fail(f"has a range that runs backwards: {part.strip()!r}", param, ctx)
            if last >= 2**32 or last - first >= MAX_SEEDS:
                rule = f"takes seeds below 2^32 and at most {MAX_SEEDS:,} of them"
                self.fail(f"{rule}: {part!r}", param, ctx)
            seeds.extend(range(first, last + 1))
        return seeds


class NameList(click.ParamType[list[str]]):
    """Comma-separated names: 'dog,cat'. An empty name is refused."""

    name = "names"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        """Names without the spaces around them, in the order given; a list passes as it is."""
        if isinstance(value, list):
            return value
        names = [part.strip() for part in str(value).split(",")]
        if not all(names):
            self.fail(f"takes names separated by commas, found {value!r}", param, ctx)
        return names


class Size(click.ParamType[tuple[int, int]]):
    """A picture size: '256' is 256x256, '320x256' is width 320 and height 256."""

    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Return (width, height) in pixels."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", str(value).strip(), re.ASCII)
        size = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if 0 in size:
            self.fail(f"takes 256 or 320x256 (width x height), found {value!r}", param, ctx)
        return size


def switch(name: str, help_text: str, default: bool | None = False) -> Callable[[Command], Command]:
    """A boolean option: `--name` alone, or with a value (1, true, yes and their opposites)."""
    return click.option(
        name, type=click.BOOL, is_flag=False, flag_value=True, default=default, help=help_text
    )


def config_options(config: type[Config]) -> Callable[[Command], Command]:
    """Give a command an option for each field of `config` that has a description.

    The description is the help text; an option that is left out arrives as None, so that the
    command can tell what was asked for. Rules beyond the type are the config's to check.
    """

    def decorate(command: Command) -> Command:
        for name, field in reversed(config.model_fields.items()):
            if field.description is not None:
                kind, flag = _option_type(field.annotation), f"--{name.replace('_', '-')}"
                if kind is click.BOOL:
                    command = switch(flag, field.description, default=None)(command)
                else:
                    command = click.option(flag, name, type=kind, help=field.description)(command)
        return command

    return decorate


def collect(name: str, config: type[Config]) -> Callable[[Command], Command]:
    """Give a command the options that are fields of `config` as one argument, `name`.

    What is written nearer to the command is collected later, and may take `name` as its field.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def collecting(*args: object, **options: object) -> object:
            fields = {field: options.pop(field) for field in config.model_fields}
            with naming_options():
                collected = config.model_validate(fields)
            return command(*args, **options, **{name: collected})

        return cast(Command, collecting)

    return decorate


def _option_type(annotation: object) -> click.ParamType[Any]:
    arguments = get_args(annotation)
    if arguments and arguments[1:] == (type(None),):  # X | None
        return _option_type(arguments[0])
    if get_origin(annotation) is Literal:
        return click.Choice(arguments)
    if get_origin(annotation) is tuple:
        return NameList()
    for kind, option_type in (
        (bool, click.BOOL),
        (int, click.INT),
        (float, click.FLOAT),
        (str, click.STRING),
    ):
        if annotation is kind or kind in arguments:
            return option_type
    raise AssertionError(f"no option type for {annotation}")
