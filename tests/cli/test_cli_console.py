"""What the terminal and reports show of names and paths that somebody else chose."""

import logging
import os

import pytest
from rich.table import Table

from crispseg.cli.console import error_console, out_console, print_error, print_table, show_log
from crispseg.errors import DataError
from crispseg.evaluation.scores import markdown_table
from crispseg.io import files_below

ODD = [
    "[/]",
    "[/b]x",
    "[bold]x",
    "\x1b[31mred",
    "\x1b]8;;http://x\x07link",
    "a\nb",
    "a\rb",
    "\u202eabc",
    ":smile:",
]


@pytest.mark.parametrize("text", ODD, ids=ascii)
def test_text_is_shown_and_not_obeyed(text, capsys):
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    out_console().print(f"{text}: done", soft_wrap=True)
    print_table(out_console(), table)
    print_error(f"{text}: broken")
    error_console().print(text)
    show_log()
    for handler in logging.getLogger("crispseg").handlers:  # not the logger: pytest would hand its text to xdist
        handler.emit(logging.makeLogRecord({"msg": text, "levelno": logging.WARNING}))
    captured = capsys.readouterr()
    shown = captured.out + captured.err
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert len(captured.err.splitlines()) == 3
    if text.isprintable():
        assert captured.out.count(text) == 4


def test_a_bare_system_error_says_what_to_do(tmp_path, capsys, monkeypatch):
    from typer.testing import CliRunner

    from crispseg.cli.app import app

    def fail(*_, **__):
        raise OSError(28, "No space left on device", str(tmp_path / "[/]x"))

    monkeypatch.setattr("crispseg.recipes.load_recipe", fail)
    result = CliRunner().invoke(app, ["fit", "toy/gff"])
    assert result.exit_code == 2
    assert result.output.strip() == (
        f"error: {tmp_path}/[/]x: No space left on device; make space on the disk, or name a folder on another"
    )


@pytest.mark.parametrize("kind", ["memory", "bytes"])
def test_what_no_reader_foresaw_is_one_line(kind, monkeypatch):
    from typer.testing import CliRunner

    from crispseg.cli.app import app

    def fail(*_, **__):
        raise MemoryError if kind == "memory" else UnicodeEncodeError("utf-8", "a\udcff.png", 1, 2, "surrogates")

    monkeypatch.setattr("crispseg.recipes.load_recipe", fail)
    result = CliRunner().invoke(app, ["fit", "toy/gff"])
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert kind == "memory" or "a\\udcff.png" in result.output


def test_a_folder_that_cannot_be_read_is_not_left_out(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.png").touch()
    assert files_below(tmp_path) == [tmp_path / "sub" / "a.png"]
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"sub: Permission denied; change its permissions"):
        files_below(tmp_path)


def test_cells_of_markdown_stay_cells():
    text = markdown_table([["class", "IoU"], ["a|b\n[c](http://x) <img> `d` \\", "50.0"]])
    assert text.splitlines()[2:] == ["| a\\|b\\n\\[c](http://x) &lt;img> \\`d\\` \\\\ | 50.0 |"]
