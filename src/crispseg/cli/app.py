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


class _Commands(TyperGroup):
    """Turns what a user can mend into one line and an exit code; a bug of ours keeps its traceback."""

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
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")] = False,
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
