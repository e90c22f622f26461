"""The ``crispseg`` command, and ``python -m crispseg`` where that is not on the path."""

from crispseg.stopping import leave_on_signals

__all__ = ["main"]


def main() -> None:
    """Run a command, and hear signals before anything else is loaded."""
    leave_on_signals()
    from crispseg.cli import app

    app()


if __name__ == "__main__":
    main()
