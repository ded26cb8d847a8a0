"""`python -m torch_utils.ops`: can this machine build the kernels, and are they right?"""

from __future__ import annotations

import click
import torch

from dnnlib.cli import CONTEXT, EXIT_FAILED, run
from torch_utils.ops.cuda import jit
from torch_utils.ops.cuda.compiler import KernelError, compiler_version, load_package
from torch_utils.ops.diagnosis import builds, checks, facts


@click.command(context_settings=CONTEXT)
def main() -> int:
    """Compile the CUDA kernels and, where there is a GPU, check them against plain operations.

    Exit status: 0 when kernels work, or there is no GPU to want them; 1 when they cannot be built
    or give wrong numbers.
    """
    device = torch.device("cuda") if torch.cuda.is_available() else None
    for name, value in facts(device).items():
        click.echo(f"{name:<14} {value}")
    click.echo()
    try:
        load_package("cuda.core")
        compiler_version()
    except KernelError as error:
        click.echo(f"Kernels cannot be built: {error}")
        if device is not None:
            return EXIT_FAILED
        click.echo("Without a GPU nothing wants them: plain torch operations run.")
        return 0
    try:
        _build(device)
    except KernelError as error:
        click.echo(f"Kernels cannot be built: {error}")
        return EXIT_FAILED
    if device is None:
        click.echo("All kernels compile. There is no GPU to run them on: plain operations run.")
        return 0
    return _check(device)


def _build(device: torch.device | None) -> None:
    click.echo(f"{'compiled':<14} {'for':<8} kernels  seconds  registers  spilled bytes")
    for build in builds(device):
        registers = max(found.registers for found in build.resources)
        spilled = max(found.spill_bytes for found in build.resources)
        click.echo(
            f"{build.source:<14} {build.arch:<8} {len(build.resources):>7}  {build.seconds:>7.2f}  "
            f"{registers:>9}  {spilled:>13}"
        )
    click.echo()


def _check(device: torch.device) -> int:
    cause = jit.problem(device)
    if cause is not None:
        click.echo(f"Kernels do not run: {cause}")
        return EXIT_FAILED
    click.echo(f"{'checked':<20} {'dtype':<16} largest error")
    passed = True
    for check in checks(device):
        verdict = "" if check.passed else "  WRONG"
        click.echo(f"{check.operator:<20} {check.dtype!s:<16} {check.error:.1e}{verdict}")
        passed = passed and check.passed
    click.echo()
    click.echo("Kernels work." if passed else "Kernels give wrong numbers: please report this.")
    return 0 if passed else EXIT_FAILED


if __name__ == "__main__":
    run(main)
