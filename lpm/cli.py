"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lpm.errors import InputError, LpmError

app = typer.Typer(
    name="lpm",
    help="Simulate large populations, agent by agent. Begin with [bold]lpm run[/]: New York City in spring 2020.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
DEFAULT = "nyc-2020"
ON_RANKS = ("run", "branch", "study", "calibrate")  # what several processes do together
Config = Annotated[
    str, typer.Argument(help="A config file, or the name of one that comes with lpm.", show_default=True)
]
Set = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change one value of the config, such as run.seed=3.")
]

Split = Annotated[
    bool, typer.Option("--split", help="Under mpirun: divide the agents of a simulation, not the simulations.")
]


def version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        from lpm import __version__

        typer.echo(f"lpm {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Simulate large populations, agent by agent. Begin with [bold]lpm run[/]: New York City in spring 2020."""
    from lpm import distributed

    if context.invoked_subcommand not in ON_RANKS and not distributed.by_itself():
        distributed.alone_only(f"lpm {context.invoked_subcommand}")


@app.command()
def run(
    config: Config = DEFAULT,
    out: Annotated[Path | None, typer.Option(help="A new directory for the results.")] = None,
    set: Set = [],  # noqa: B006
    agents: Annotated[int | None, typer.Option(help="How many agents.")] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed gives another epidemic.")] = None,
    realizations: Annotated[int | None, typer.Option(help="How many draws of the same epidemic.")] = None,
    steps: Annotated[int | None, typer.Option(help="How many days.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, if there is one.")] = False,
    from_fit: Annotated[Path | None, typer.Option(help="Take the parameters that `lpm calibrate` found.")] = None,
    draws: Annotated[int | None, typer.Option(help="A realization for each of so many posterior draws.")] = None,
    engine: Annotated[
        str | None,
        typer.Option(metavar="mpi|jax", help="How ranks reach each other in a step; by default jax on GPUs, else mpi."),
    ] = None,
) -> None:
    """Run a config: results to a zarr store, a table here, a picture beside the store."""
    from lpm import commands

    commands.run(config, out, set, agents, seed, realizations, steps, Console(), resume, from_fit, draws, engine)


@app.command()
def branch(
    directory: Annotated[Path, typer.Argument(help="The directory of the run to leave.")],
    out: Annotated[Path, typer.Option(help="A new directory for the results.")],
    set: Set = [],  # noqa: B006
    at: Annotated[
        str | None, typer.Option(metavar="DAY", help="A date or a number of days done; else the latest saved.")
    ] = None,
    config: Annotated[str | None, typer.Option(help="The run's config, if it was moved.")] = None,
) -> None:
    """Go on from the middle of a run with other settings: until then the results are those of the run."""
    from lpm import commands

    commands.branch(directory, out, set, at, config, Console())


@app.command()
def calibrate(
    config: Annotated[str, typer.Argument(help="A config file with a section `calibrate`, or the name of one.")],
    out: Annotated[Path | None, typer.Option(help="A new directory for the fit.")] = None,
    set: Set = [],  # noqa: B006
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the fit in --out, if there is one.")] = False,
    split: Split = False,
) -> None:
    """Fit a config's free parameters to its data: a table here, fit.json, fit.zarr, a picture and a page."""
    from lpm.calibration import command

    command.calibrate(config, out, set, Console(), resume, split)


@app.command()
def study(
    file: Annotated[str, typer.Argument(help="A study's file, or the name of one that comes with lpm; or `collect`.")],
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="After `collect`: the --out of the study to be joined.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A directory for the runs and the answers.")] = None,
    task: Annotated[
        str | None, typer.Option(metavar="I/N", help="Do the I-th of N parts only, as in an array job.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Do what is missing in --out.")] = False,
    realizations: Annotated[int | None, typer.Option(help="How many runs of each scenario.")] = None,
    agents: Annotated[int | None, typer.Option(help="How many agents.")] = None,
    split: Split = False,
) -> None:
    """Compare scenarios with a baseline under the same draws: a table here, answers, and a page to send on."""
    from lpm.studies import command

    if directory is not None:
        command.collect_words(file, directory, Console())
        return
    command.study(file, out, task, resume, realizations, agents, Console(), split)


@app.command("study-collect", hidden=True)  # the same as `lpm study collect`
def study_collect(
    directory: Annotated[Path, typer.Argument(help="The --out of `lpm study`.")],
) -> None:
    """Join the runs of a study, also of an unfinished one, and write its answers anew."""
    from lpm.studies import command

    command.collect(directory, Console())


@app.command()
def show(
    stores: Annotated[list[Path], typer.Argument(metavar="DIR", help="The directories that runs printed.")],
    picture: Annotated[
        Path | None, typer.Option(help="Where to draw; if not said, in the run's directory, or beside the first one.")
    ] = None,
) -> None:
    """Print the table of a run and draw its picture, also while it is running; of several, side by side."""
    from lpm.show import show

    show(stores, Console(), picture)


@app.command()
def validate(config: Config = DEFAULT, set: Set = []) -> None:  # noqa: B006
    """Check a config, its data and its model, and run nothing.

    The model is built with 1,000 agents, or as its settings say where they name
    fewer or none, and a step is traced: this finds substeps and observables that
    fail, and wrong shapes and dtypes, but computes nothing.
    """
    from lpm import commands

    commands.validate(config, set, Console())


@app.command()
def check_gradient(
    config: Config = DEFAULT,
    parameters: Annotated[str | None, typer.Option(metavar="NAMES", help="Some only, such as a,b.c,b.d.3.")] = None,
    observables: Annotated[str | None, typer.Option(metavar="NAMES", help="Some only, separated by commas.")] = None,
    rule: Annotated[str, typer.Option(help="cavity, smooth, straight_through or gumbel.")] = "cavity",
    realizations: Annotated[int, typer.Option(help="How many; errors fall with their square root.")] = 32,
    change: Annotated[
        str | None, typer.Option(metavar="H", help="Of the parameters in the differences: 0.05, or initial=0.2,...")
    ] = None,
    set: Set = [],  # noqa: B006
    agents: Annotated[int | None, typer.Option(help="How many agents; if not said, at most 10,000.")] = None,
    steps: Annotated[int | None, typer.Option(help="How many days.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the draws.")] = None,
) -> None:
    """Hold a world's derivatives against differences between runs: which are right, off or cut.

    Exit status 1 if one is off or cut.
    """
    from lpm import commands

    wanted = {"parameters": parameters, "observables": observables, "rule": rule}
    numbers = {"realizations": realizations, "change": change}
    if not commands.check_gradient(config, set, agents, steps, seed, Console(), **wanted, **numbers):
        raise typer.Exit(1)


@app.command()
def sbatch(
    config: Annotated[str, typer.Argument(help="A config or a study's file, or the name of one.")],
    nodes: Annotated[int, typer.Option(help="How many.")],
    time: Annotated[str, typer.Option(metavar="HH:MM:SS", help="After which the job saves and queues again.")],
    out: Annotated[Path | None, typer.Option(help="A directory for the results.")] = None,
    set: Set = [],  # noqa: B006
    tasks_per_node: Annotated[int, typer.Option(help="Processes; if not said, 1, or one for each GPU.")] = 0,
    cpus_per_task: Annotated[int, typer.Option(help="If not said, an equal part of the node.")] = 0,
    gpus_per_node: Annotated[int, typer.Option(help="One for each process.")] = 0,
    partition: Annotated[str, typer.Option(help="Of the site.")] = "",
    account: Annotated[str, typer.Option(help="Of the site.")] = "",
    array: Annotated[str, typer.Option(metavar="1-N", help="A study in N parts.")] = "",
    grace: Annotated[int, typer.Option(metavar="SECONDS", help="Before the end of --time, to save in.")] = 120,
    mpi: Annotated[str, typer.Option(help="How srun connects processes: see `srun --mpi=list`.")] = "pmix",
    script: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it to this file instead.")] = None,
) -> None:
    """Print a batch script for Slurm that goes on, job after job, until the run is done: pipe it to sbatch."""
    from lpm.sbatch import Batch, write

    batch = Batch(nodes, time, tasks_per_node, cpus_per_task, gpus_per_node, partition, account, array, grace, mpi)
    typer.echo(write(batch, config, out, tuple(set), script), nl=False)


@app.command()
def new(directory: Annotated[Path, typer.Argument(help="A new directory.")]) -> None:
    """Write an example model with its config and test, to make your own from."""
    from lpm import new as template

    template.write(directory, Console())


@app.command()
def schema(
    write: Annotated[Path | None, typer.Option(help="Write it to this file instead.")] = None,
    study: Annotated[bool, typer.Option("--study", help="Of studies instead.")] = False,
) -> None:
    """Print the JSON schema of configs, for editors."""
    import json

    from lpm.schema import export_schema, export_study_schema

    text = json.dumps(export_study_schema() if study else export_schema(), indent=2) + "\n"
    if write:
        write.write_text(text, encoding="utf-8")
    else:
        typer.echo(text, nl=False)


def main() -> None:
    """The console script: exit status 0, 1 if a run failed, 2 for input to mend, 130 for Ctrl-C, 143 for SIGTERM."""
    errors = Console(stderr=True, soft_wrap=True)
    try:
        app()
    except SystemExit as leaving:
        if leaving.code == 130:  # Ctrl-C before a run began or after it ended
            errors.print("stopped")
        raise
    except LpmError as error:
        from lpm import distributed, terminal

        if distributed.failed(error):
            terminal.fail(error, errors)
        sys.exit(2 if isinstance(error, InputError) else getattr(error, "status", 1))
    except Exception as error:
        if os.environ.get("LPM_TRACE"):
            raise
        from lpm import distributed, terminal

        if distributed.failed(error):
            terminal.unexpected(error, errors)
        sys.exit(1)
