"""The command line: ``crispseg demo | fit | evaluate | segment | describe``.

One file a command. A command's file imports torch and the rooms below only inside its function: they take seconds to
load, and ``crispseg --help`` and a mistyped option should not wait for them.
"""

from crispseg.cli.app import app

__all__ = ["app"]
