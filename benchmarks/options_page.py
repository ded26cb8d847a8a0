"""The tables of docs/options.md: every option of every script, and what the presets set."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import click
from pydantic.fields import FieldInfo

from benchmarks.pages import DOCS, ROOT, markdown, modules
from training.noise_options import NoiseOptions
from training.options import TrainOptions, resolve_options
from training.presets import PRESET_NAMES
from training.run_options import RunOptions

PAGE = DOCS / "options.md"
KINDS = {
    "boolean": "yes, no",
    "integer": "whole number",
    "float": "number",
    "file": "path",
    "directory": "path",
    "names": "names: a,b",
    "seeds": "numbers: 0-35,77",
    "size": "number, or WxH",
}
HEAD = ("option", "value", "left out", "what it does")
PRESETS_NOTE = (
    "What `--cfg` sets, `auto` for 64x64 in one process; other settings are equal in all. Rows "
    "without dashes are no options of their own. – follows another setting, or there is none."
)
AUTO_NOTE = "`auto` in one process, by resolution; with more processes the batch grows, up to 64:"
AUTO_SIZES = (16, 32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True)
class Row:
    """An option or argument as the page shows it."""

    flags: tuple[str, ...]
    value: str
    default: str
    meaning: str

    def cells(self) -> tuple[str, ...]:
        """What stands in its line of the table."""
        flags = ", ".join(f"`{flag}`" for flag in self.flags)
        return flags, *map(_escaped, (self.value, self.default, self.meaning))


def scripts() -> list[str]:
    """What users can start: train.py, the other scripts, then what `python -m` takes."""
    runnable = [p for p in modules() if "\nif __name__ ==" in (ROOT / p).read_text("utf-8")]
    names = [
        ".".join(path.parent.parts if path.stem == "__main__" else path.with_suffix("").parts)
        for path in runnable
    ]
    return sorted(names, key=lambda name: (name != "train", "." in name))


def load_command(script: str) -> click.Command:
    """What `python SCRIPT.py` or `python -m SCRIPT` runs."""
    module = importlib.import_module(script)
    if hasattr(module, "__path__"):
        module = importlib.import_module(f"{script}.__main__")
    command = module.main
    assert isinstance(command, click.Command)
    return command


def usage(script: str) -> str:
    """What users type to start `script`."""
    return f"python -m {script}" if "." in script else f"python {script}.py"


def rows_of(command: click.Command) -> list[Row]:
    """The arguments and options of `command`, in its order."""
    context = click.Context(command)
    rows = []
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            field = TrainOptions.model_fields.get(str(parameter.name))
            named = field is not None and field.description == parameter.help
            rows.append(_row(parameter, field if named else None))
        else:
            rows.append(Row((parameter.make_metavar(context),), "", "required", ""))
    return rows


def _row(option: click.Option, field: FieldInfo | None) -> Row:
    """`field` is what its value goes to, where that is one of `TrainOptions`."""
    words = " ".join((option.help or "").split())
    bracket = re.search(r"\s*\[([^\[\]]*)\]$", words)
    meaning = words[: bracket.start()] if bracket else words
    default = bracket[1] if bracket else _default(option, field)
    return Row((*option.opts, *option.secondary_opts), _value(option), default, meaning)


def _value(option: click.Option) -> str:
    """What may be typed behind the flag."""
    if option.is_flag:
        return ""
    if isinstance(option.type, click.Choice):
        return ", ".join(map(str, option.type.choices))
    if isinstance(option.type, click.IntRange | click.FloatRange):
        return _range(option.type)
    return KINDS.get(option.type.name, option.type.name)


def _range(limits: click.IntRange | click.FloatRange) -> str:
    words = "whole number" if isinstance(limits, click.IntRange) else "number"
    if limits.min is None:
        return words
    if limits.max is None:
        return f"{words} {'above' if limits.min_open else 'from'} {limits.min}"
    return f"{words}, {'above ' if limits.min_open else ''}{limits.min} to {limits.max}"


def _default(option: click.Option, field: FieldInfo | None) -> str:
    """What counts without the option, where its help does not say so."""
    default = option.to_info_dict()["default"]
    if option.required:
        return "required"
    if option.is_flag or default is False:
        return "no"
    if default is None and field is not None:
        return "by --cfg" if field.is_required() else _plain(field.default)
    return "" if default is None else _plain(default)


def _plain(value: object) -> str:
    """A value as users type it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(map(_plain, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def table(rows: Iterable[Row]) -> str:
    """A table with a line for each row."""
    return markdown(HEAD, [row.cells() for row in rows])


def script_sections(script: str) -> list[str]:
    """Heading, purpose and tables of `script`; the options of train.py stand there alone."""
    command = load_command(script)
    purpose = (command.help or "").split("\n\n")[0]
    parts = [f"## {usage(script)}", " ".join(purpose.split())]
    rows = rows_of(command)
    if script == "train":
        return parts + _train_tables(rows)
    taken = {row.flags: row for row in rows_of(load_command("train"))}
    shared = [row for row in rows if taken.get(row.flags) == row]
    if len(shared) > 20:  # a command that takes its whole configuration
        rows = [row for row in rows if row not in shared]
        names = f"`{shared[0].flags[0]}` to `{shared[-1].flags[0]}`"
        parts.append(f"Also takes {names} of [train.py](#python-trainpy).")
    return parts + ([table(rows)] if rows else ["No options."])


def _train_tables(rows: list[Row]) -> list[str]:
    """The options of train.py by what they are about."""
    noise, how = _flags(NoiseOptions.model_fields), _flags(RunOptions.model_fields)
    what = _flags(TrainOptions.model_fields) - noise - how - {"--cfg"}
    rest = {row.flags[0] for row in rows} - noise - how - what
    parts = {
        "What and where": rest,
        "How a run is carried out (may change when it goes on)": how,
        "What is trained": what,
        "Noise": noise,
    }
    sections = []
    for title, flags in parts.items():
        chosen = [row for row in rows if row.flags[0] in flags]
        sections += [f"### {title}", table(chosen)]
    return sections


def _flags(fields: Mapping[str, FieldInfo]) -> set[str]:
    return {f"--{name.replace('_', '-')}" for name in fields}


def preset_table() -> str:
    """What the presets set differently, `auto` at 64x64 in one process."""
    settings = {name: resolve_options(name, {}, 64, 64).model_dump() for name in PRESET_NAMES}
    rows = []
    for name in TrainOptions.model_fields:
        values = [_plain(settings[preset][name]) for preset in PRESET_NAMES]
        if name != "cfg" and len(set(values)) > 1:
            rows.append([_label(name), *values])
    return markdown(("", *(f"`{name}`" for name in PRESET_NAMES)), rows)


def auto_table() -> str:
    """What `auto` comes to by resolution, in one process."""
    columns = [resolve_options("auto", {}, size, size).model_dump() for size in AUTO_SIZES]
    rows = [
        [_label(name), *(_plain(column[name]) for column in columns)]
        for name in ("batch", "mbstd", "channel_base", "lr", "gamma", "ema_kimg")
    ]
    return markdown(("", *(f"{size}x{size}" for size in AUTO_SIZES)), rows)


def _label(name: str) -> str:
    """A setting as its option, where it has one."""
    is_option = TrainOptions.model_fields[name].description is not None
    return f"`--{name.replace('_', '-')}`" if is_option else f"`{name}`"


def sections() -> list[str]:
    """All that is drawn from the code."""
    parts = [part for script in scripts() for part in script_sections(script)]
    return [*parts, "## Presets", PRESETS_NOTE, preset_table(), AUTO_NOTE, auto_table()]
