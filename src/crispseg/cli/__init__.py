"""The command line: ``crispseg demo | fit | evaluate | segment | describe``.

One file a command. A command's file imports torch and the rooms below only inside its function: they take seconds to
load, and ``crispseg --help`` and a mistyped option should not wait for them.
"""

from typing import TYPE_CHECKING

from crispseg.lazy import lazily
from crispseg.stopping import leave_on_signals

if TYPE_CHECKING:
    from crispseg.cli.app import app
else:
    __getattr__, __dir__ = lazily(__name__, {"crispseg.cli.app": ("app",)})

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of the ``crispseg`` command: hears signals before it loads anything."""
    leave_on_signals()
    from crispseg.cli.app import app

    app()
