"""The `entourage` command. What is slow to import is imported by the command that needs it."""

import inspect
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from entourage import __version__
from entourage.cli import commands, rule_commands
from entourage.cli.exits import EXIT_CODES, guarded

PROGRAM = "entourage"


class _Guarded(TyperGroup):
    """All commands, with every error told in one way."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        *_: object,
        **extra: Any,  # noqa: ANN401 - as the parent has it
    ) -> Any:  # noqa: ANN401
        """Run a command; in standalone mode exit with its code, else return it."""
        words = list(sys.argv[1:] if args is None else args)
        inherited = super().main

        def run() -> object:
            return inherited(words, PROGRAM, complete_var, standalone_mode=False, **extra)

        code = guarded(run, as_json="--json" in words)
        if standalone_mode:
            sys.exit(code)
        return code


app = typer.Typer(
    cls=_Guarded,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
lab_app = typer.Typer(rich_markup_mode=None)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True, epilog=EXIT_CODES)
def _entourage(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Move a whole virtual service between two sites in one switch, with the route that leads to it.

    The whole path moves, or nothing moves, and here are the numbers.
    """
    _help_without_command(context)


@lab_app.callback(invoke_without_command=True)
def _lab(context: typer.Context) -> None:
    """Two real sites on this machine: bring a lab up, take it down, see which are there."""
    _help_without_command(context)


def _help_without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _register(to: typer.Typer, name: str, wanted: type, carried_out_by: str) -> None:
    """The command `name`: its options are the fields of `wanted`, and `carried_out_by` is "module.function"."""
    module, _, function = carried_out_by.partition(".")

    def command(**written: object) -> object:
        return getattr(import_module(f"entourage.cli.{module}"), function)(wanted(**written))

    signature = inspect.signature(wanted)
    command.__signature__ = signature  # type: ignore[attr-defined] # what typer reads
    command.__annotations__ = {each.name: each.annotation for each in signature.parameters.values()}
    to.command(name, help=inspect.getdoc(wanted), epilog=vars(wanted)["epilog"])(command)


_register(lab_app, "up", commands.LabUp, "labs.up")
_register(lab_app, "down", commands.LabDown, "labs.down")
_register(lab_app, "status", commands.LabStatus, "labs.status")
_register(lab_app, "cut", commands.LabCut, "harm.cut")
_register(lab_app, "heal", commands.LabHeal, "harm.heal")
_register(lab_app, "kill", commands.LabKill, "harm.kill")
_register(lab_app, "revive", commands.LabRevive, "harm.revive")
app.add_typer(lab_app, name="lab")
_register(app, "create", commands.Create, "instances.create")
_register(app, "delete", commands.Delete, "instances.delete")
_register(app, "status", commands.Status, "looking.status")
_register(app, "realtime", commands.Realtime, "realtime.realtime")
_register(app, "replicate", commands.Replicate, "replication.keep")
_register(app, "replicas", commands.Replicas, "replication.replicas")
_register(app, "quorum", commands.Quorum, "quorum.quorum")
_register(app, "licences", commands.Licences, "licences.licences")
_register(app, "trace", commands.Trace, "looking.trace")
_register(app, "plan", commands.PlanMove, "looking.plan")
_register(app, "move", commands.Move, "moving.move")
_register(app, "moves", commands.Moves, "recovery.moves")
_register(app, "resume", commands.Resume, "recovery.resume")
_register(app, "recover", commands.Recover, "recovery.recover")
_register(app, "abort", commands.Abort, "recovery.abort")
_register(app, "commit", commands.Commit, "recovery.commit")
_register(app, "run", rule_commands.Run, "ruling.run_rules")
_register(app, "explain", rule_commands.Explain, "ruling.explain")
_register(app, "advise", rule_commands.Advise, "advising.advise")
_register(app, "test-failover", rule_commands.TestFailover, "failing_over.test_failover")
_register(app, "maintenance", rule_commands.Maintenance, "maintaining.maintenance")
_register(app, "rules", rule_commands.Rules, "ruling.rules")
_register(app, "decisions", rule_commands.Decisions, "ruling.decisions")
_register(app, "report", commands.Report, "moving.report")
_register(app, "simulate", commands.Simulate, "simulating.simulate")
_register(app, "demo", commands.Demo, "story.demo")


def run() -> None:
    """The script's entry point."""
    app()
