"""The application: its commands, its global options, and how errors leave it."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from crispseg import __version__
from crispseg.cli.compare import compare
from crispseg.cli.console import print_error, show_log
from crispseg.cli.convert import convert
from crispseg.cli.data import data_app
from crispseg.cli.demo import demo
from crispseg.cli.describe import describe
from crispseg.cli.evaluate import evaluate
from crispseg.cli.explain import explain
from crispseg.cli.export import export
from crispseg.cli.fit import fit
from crispseg.cli.plugin import with_plugins
from crispseg.cli.push import push
from crispseg.cli.recipes import recipes
from crispseg.cli.refine import refine
from crispseg.cli.score import score
from crispseg.cli.segment import segment
from crispseg.cli.serve import serve
from crispseg.cli.studio import studio
from crispseg.errors import CrispsegError, Interrupted, TrainingError
from crispseg.wording import os_error_in_words

__all__ = ["app"]

EXIT_TRAINING = 1
EXIT_USER = 2


_CALLED_ELSEWHERE = {
    "train": "fit",
    "predict": "segment",
    "infer": "segment",
    "test": "evaluate",
    "eval": "evaluate",
    "val": "evaluate",
    "validate": "evaluate",
    "check": "data check",
}
"""What other tools call our commands."""


class _Commands(TyperGroup):
    """Turns what a user can mend into one line and an exit code; a bug of ours keeps its traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """``--debug`` may stand behind the command as well."""
        own, mark, rest = _split(args, "--")
        if "--debug" in own:
            args = ["--debug", *(argument for argument in own if argument != "--debug"), *mark, *rest]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """What was meant by a command that there is not."""
        if (meant := _CALLED_ELSEWHERE.get(args[0])) and args[0] not in self.commands:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {meant!r}?")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Interrupted as error:
            print_error(str(error))
            raise typer.Exit(error.exit_status) from error
        except CrispsegError as error:
            if ctx.params.get("debug"):
                raise
            print_error(str(error))
            raise typer.Exit(EXIT_TRAINING if isinstance(error, TrainingError) else EXIT_USER) from error
        except BrokenPipeError:
            raise  # `crispseg describe gff | head`: typer ends it quietly
        except OSError as error:  # a full disk, a folder without write permission: theirs to mend as well
            if ctx.params.get("debug"):
                raise
            print_error(os_error_in_words(error))
            raise typer.Exit(EXIT_USER) from error
        except UnicodeEncodeError as error:  # a path may hold any bytes, a report is UTF-8
            around = error.object[max(error.start - 60, 0) : error.end + 20]
            print_error(f"{around}: holds bytes that are no UTF-8 text; rename the file or folder")
            raise typer.Exit(EXIT_USER) from error
        except MemoryError as error:
            print_error(f"out of memory{f' ({error})' if str(error) else ''}; use smaller images, crops or batches")
            raise typer.Exit(EXIT_USER) from error


def _split(args: list[str], mark: str) -> tuple[list[str], list[str], list[str]]:
    """Before, at and behind a mark, which may be missing."""
    place = args.index(mark) if mark in args else len(args)
    return args[:place], args[place : place + 1], args[place + 1 :]


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,  # a plain traceback can be copied into a bug report
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"crispseg {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of errors; also behind the command.")
    ] = False,
) -> None:
    """Semantic segmentation with crisp boundaries: GSCNN, Decoupled and GFF on any backbone and context."""
    show_log()


for _command in (
    demo,
    fit,
    evaluate,
    score,
    compare,
    refine,
    segment,
    serve,
    explain,
    describe,
    convert,
    export,
    push,
    recipes,
):
    app.command()(with_plugins(_command))


app.command("app")(with_plugins(studio))
app.add_typer(data_app, name="data")
