"""``crispseg demo``: train on toy streets and look at the result, in minutes on a CPU."""

from __future__ import annotations

import json
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from crispseg.cli.console import out_console, print_table
from crispseg.io.files import atomic_write
from crispseg.wording import seconds_in_words

__all__ = ["demo"]


class System(StrEnum):
    """What can be shown."""

    gff = "gff"
    gscnn = "gscnn"
    decoupled = "decoupled"
    plain = "plain"


def demo(
    system: Annotated[System, typer.Option(help="The system to train.")] = System.gff,
    compare: Annotated[bool, typer.Option("--compare", help="Also train the plain baseline, and show both.")] = False,
    out: Annotated[Path, typer.Option(help="The demo's folder.")] = Path("crispseg-demo"),
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Train shorter or longer.", show_default="the recipe's")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="Change one value of the recipe; may be given often."),
    ] = None,
) -> None:
    """Train a system on made-up streets, print its scores, and write a page of pictures.

    Needs no data and no GPU: the scenes are drawn, with exact labels, as they are asked for.
    """
    from crispseg.cli.scores import scores_table
    from crispseg.demo.run import TITLES, Trained, claim_folder, demo_recipes, tell_story, train_system
    from crispseg.pages.demo import render_report

    console = out_console()
    overrides = [*(set_ or []), *([f"train.epochs={epochs}"] if epochs else [])]
    recipes = demo_recipes(system.value, compare, overrides)
    claim_folder(out, list(recipes))
    trained: list[Trained] = []
    for name, recipe in recipes.items():
        title = TITLES[name]
        console.print(f"{title}: training on {recipe.data.options['toy_train_images']} made-up streets …")
        trained.append(train_system(name, out / name, recipe))
        result = trained[-1].result
        print_table(
            console, scores_table(result.scores, f"{title}: scores in %, after {seconds_in_words(result.seconds)}")
        )
    ours, baseline = trained[0], trained[1] if compare else None
    story = tell_story(ours, baseline, command=shlex.join(["crispseg", *sys.argv[1:]]))
    html = render_report(
        ours.result,
        baseline.result if baseline else None,
        lead=story.lead,
        idea=story.idea,
        scenes=story.scenes,
        scenes_note=story.scenes_note,
        label_space=story.label_space,
        facts=story.facts,
    )
    scores = {one.result.name: one.result.scores.to_dict() for one in trained}
    page = out / "report.html"
    for path, text in ((page, html), (out / "scores.json", json.dumps(scores, indent=2, allow_nan=False) + "\n")):
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    console.print(f"pictures and tables: {page}", soft_wrap=True)
    console.print(f"the model: {ours.model_folder}", soft_wrap=True)
