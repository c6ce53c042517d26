"""The `entourage` command. What is slow to import is imported by the command that needs it."""

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from entourage import __version__
from entourage.cli import labs, looking, moving, story
from entourage.cli.exits import EXIT_CODES, guarded

PROGRAM = "entourage"


class _Guarded(TyperGroup):
    """The commands, with every error told in one way."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,  # noqa: ANN401 - what the parent takes
    ) -> Any:  # noqa: ANN401 - as the parent has it
        """Run a command; in standalone mode exit with its code, else return it."""
        words = list(sys.argv[1:] if args is None else args)

        def run() -> object:
            return super(_Guarded, self).main(words, prog_name or PROGRAM, complete_var, False, False, **extra)  # noqa: FBT003

        code = guarded(run, as_json="--json" in words)
        if standalone_mode:
            sys.exit(code)
        return code


app = typer.Typer(
    cls=_Guarded,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
lab_app = typer.Typer(rich_markup_mode=None)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True, epilog=EXIT_CODES)
def entourage(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback does it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Move a whole virtual service between two sites in one switch, with the route that leads to it.

    The whole path moves, or nothing moves, and here are the numbers.
    """
    _help_without_command(context)


@lab_app.callback(invoke_without_command=True)
def lab(context: typer.Context) -> None:
    """Bring the lab up, take it down, see what is there: two real sites on this machine."""
    _help_without_command(context)


def _help_without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


lab_app.command("up", epilog=labs.UP_EXAMPLES)(labs.up)
lab_app.command("down", epilog=labs.DOWN_EXAMPLES)(labs.down)
lab_app.command("status", epilog=labs.STATUS_EXAMPLES)(labs.status)
app.add_typer(lab_app, name="lab")
app.command("status", epilog=looking.STATUS_EXAMPLES)(looking.status)
app.command("trace", epilog=looking.TRACE_EXAMPLES)(looking.trace)
app.command("plan", epilog=looking.PLAN_EXAMPLES)(looking.plan)
app.command("move", epilog=moving.MOVE_EXAMPLES)(moving.move)
app.command("report", epilog=moving.REPORT_EXAMPLES)(moving.report)
app.command("demo", epilog=story.DEMO_EXAMPLES)(story.demo)


def run() -> None:
    """The script's entry point."""
    app()
