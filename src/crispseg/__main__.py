"""``python -m crispseg``: the command line, where the entry point is not on the path."""

from crispseg.cli import main

main()
