"""What the commands share on the terminal: results go to stdout, progress and errors to stderr."""

from __future__ import annotations

import logging
import warnings
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from crispseg.io.streams import BestEffort
from crispseg.wording import printable

__all__ = [
    "StepProgress",
    "error_console",
    "make_progress",
    "out_console",
    "print_error",
    "print_table",
    "print_warning",
    "show_log",
]


class _Terminal(Console):
    """Shows text as it is: a class named ``[/]`` is no markup, and a path cannot send codes to the terminal."""

    def __init__(self, *, stderr: bool = False) -> None:
        # Nothing on stderr must end the work that it speaks of; what is printed to stdout is the work.
        file: Any = BestEffort("stderr") if stderr else None
        super().__init__(file=file, stderr=stderr, highlight=False, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """As in the base class, through which all texts go, those of tables as well."""
        return super().render_str(printable(text), **options)


def out_console() -> Console:
    """A console on today's stdout; made anew each time, so that a redirected stream is honoured."""
    return _Terminal()


def error_console() -> Console:
    """A console on stderr."""
    return _Terminal(stderr=True)


def print_error(message: str) -> None:
    """One ``error: …`` line on stderr, red on a terminal, never broken to the terminal's width."""
    error_console().print(Text.assemble(("error: ", "bold red"), printable(message)), soft_wrap=True)


def print_warning(message: str) -> None:
    """One ``warning: …`` line on stderr, yellow on a terminal, never broken to the terminal's width."""
    error_console().print(Text.assemble(("warning: ", "bold yellow"), printable(message)), soft_wrap=True)


def print_table(console: Console, table: Table) -> None:
    """A table with title and caption on lines of their own: rich breaks them to the table's width, however narrow."""
    title, table.title = table.title, None
    caption, table.caption = table.caption, None
    if title:
        console.print(title, style="italic", soft_wrap=True)
    console.print(table)
    if caption:
        console.print(caption, style="dim", soft_wrap=True)


class _ToStderr(logging.Handler):
    """Prints through a console made at the moment, so that a running progress bar moves out of the way."""

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if record.levelno >= logging.WARNING:
            print_warning(text)
        else:
            error_console().print(Text(printable(text), style="dim"), soft_wrap=True)


def show_log() -> None:
    """Show what the library logs, such as a line per epoch; nothing changes when it is called again."""
    # Pillow warns of broken metadata, in two lines; what matters of a file is in our own error, or was read.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logger = logging.getLogger("crispseg")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    if not any(isinstance(handler, _ToStderr) for handler in logger.handlers):
        logger.addHandler(_ToStderr())


def make_progress() -> Progress:
    """A progress bar on stderr that goes away when it is done; plain silence where stderr is not a terminal."""
    console = error_console()
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class StepProgress:
    """A progress bar for one step after another: appears at a step's first call and goes away when it is done.

    Example:
        >>> progress = StepProgress()
        >>> progress("reading", 1, 2), progress("reading", 2, 2)  # on stderr, where that is a terminal
        (None, None)
    """

    def __init__(self) -> None:
        self._shown: tuple[str, Progress, TaskID] | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that so many of a step are done."""
        if self._shown is None or self._shown[0] != what:
            self.close()
            bar = make_progress()
            bar.start()
            self._shown = (what, bar, bar.add_task(what, total=total))
        _, bar, task = self._shown
        bar.update(task, completed=done, total=total)
        if done >= total:
            self.close()

    def close(self) -> None:
        """Take the bar away."""
        if self._shown is not None:
            self._shown[1].stop()
            self._shown = None
