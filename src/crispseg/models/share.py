"""Sharing a model on the Hugging Face Hub: its page, made from its card, and one commit of all its files."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import huggingface_hub
import yaml
from huggingface_hub.utils import HFValidationError  # type: ignore[attr-defined] # as in hub.py

from crispseg.errors import WeightsError
from crispseg.models.cards import CARD_NAME, WEIGHTS_NAME, find_folder, read_card
from crispseg.models.hub import LOG_IN, cause_and_status, in_short, is_hub_id
from crispseg.models.plugins import named_plugins, plugin_in_words
from crispseg.models.segmenter import Segmenter
from crispseg.models.weights import load_model, save_model

__all__ = ["model_page", "push_to_hub"]

PAGE_NAME = "README.md"

# https://huggingface.co/docs/hub/repositories-licenses, without the licences of single models
_HUB_LICENCE = re.compile(
    r"mit|isc|zlib|ncsa|pddl|odbl|odc-by|wtfpl|unlicense|postgresql|c-uda|openrail(\+\+)?|ms-pl|mpl-2\.0|apache-2\.0"
    r"|bsd(-2-clause|-3-clause(-clear)?)?|cc|cc0-1\.0|cc-by(-nc(-sa)?)?-[234]\.0|cc-by-2\.5|cc-by-(sa|nc-nd)-[34]\.0"
    r"|cc-by-nd-4\.0|cdla-sharing-1\.0|cdla-permissive-[12]\.0|gfdl|agpl-3\.0|gpl(-[23]\.0)?|lgpl(-2\.1|-3\.0|-lr)?"
    r"|epl-[12]\.0|ecl-2\.0|afl-3\.0|osl-3\.0|ofl-1\.1|bsl-1\.0|eupl-1\.1|lppl-1\.3c|artistic-2\.0|etalab-2\.0"
)


def push_to_hub(
    model: Segmenter | str | Path,
    hub_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    message: str = "Share a crispseg model",
) -> str:
    """Share a model on the Hugging Face Hub, so that ``load_model("user/name")`` loads it anywhere.

    Weights, card and page arrive in one commit, all of them or none. What was pushed to the name before stays in the
    repository's history: ``load_model("user/name@revision")``. Paths of this machine in the recipe (where the data and
    the first weights lay) are left out.

    Args:
        model: a model folder, the folder of a training run, or a model. The folder is better: it says licence, recipe
            and scores. A model alone has none of them, and its licence is given as unknown.
        hub_id: ``"user/name"`` or ``"organisation/name"``; made if it does not exist.
        private: show it to nobody else; otherwise the owner's default, which is public unless an organisation says so.
        token: with write access; None: that of ``hf auth login`` or of the environment variable HF_TOKEN.
        message: of the commit.

    Returns:
        The address of the model's page.

    Raises:
        WeightsError: if the folder holds no model that loads, the id is none, the Hub cannot be reached, does not know
            you or does not let you write there; or if `private` is asked of a model that is public already.

    Example:
        >>> push_to_hub("runs/streets", "streets")
        Traceback (most recent call last):
        ...
        crispseg.errors.WeightsError: streets: is no Hub id to push to; give it as user/name
    """
    if not is_hub_id(hub_id) or "@" in hub_id:
        raise WeightsError(f"{hub_id}: is no Hub id to push to; give it as user/name")
    with tempfile.TemporaryDirectory() as temporary:
        if isinstance(model, Segmenter):
            folder = Path(temporary) / "model"
            save_model(model, folder, licence="")
        else:
            folder = find_folder(Path(model))
            load_model(folder)  # what does not load here would load for nobody
        card = _without_paths(read_card(folder))
        contents: dict[str, Path | bytes] = {
            CARD_NAME: json.dumps(card, indent=2, ensure_ascii=False).encode(),
            WEIGHTS_NAME: folder / WEIGHTS_NAME,
            PAGE_NAME: model_page(card, hub_id).encode(),
        }
        return _push(contents, hub_id, private, token, message)


def model_page(card: Mapping[str, Any], hub_id: str) -> str:
    """What a model's page on the Hub says, made from its card.

    Args:
        card: see `crispseg.models.cards.read_card`.
        hub_id: ``"user/name"``.

    Returns:
        Markdown below the metadata that the Hub reads (licence in its identifiers, library, task, tags).

    Example:
        >>> card = {
        ...     "model": {"head": "gff", "context": "ppm", "backbone": "resnet50s", "output_stride": 8},
        ...     "label_space": {"name": "two", "classes": [{"name": "sky"}, {"name": "pole"}]},
        ...     "licence": "CC BY-NC-SA 4.0",
        ... }
        >>> page = model_page(card, "someone/streets").splitlines()
        >>> page[1], page[page.index("# streets") + 2]
        ('license: cc-by-nc-sa-4.0', 'Semantic segmentation with crisp boundaries into 2 classes (`two`): sky, pole.')
    """
    config, labels = card["model"], card["label_space"]
    names = [entry["name"] for entry in labels["classes"]]
    metadata = {
        **_licence_metadata(card),
        "library_name": "crispseg",
        "pipeline_tag": "image-segmentation",
        "tags": ["crispseg", "semantic-segmentation", config["head"], config["backbone"]],
    }
    blocks = [
        f"---\n{yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)}---",
        f"# {hub_id.partition('/')[2]}",
        f"Semantic segmentation with crisp boundaries into {len(names)} classes (`{labels['name']}`): "
        f"{_one_line(', '.join(names))}.",
        "\n".join(f"- {name}: {_one_line(value)}" for name, value in _facts(card)),
        f'```python\nimport crispseg\n\nmodel = crispseg.load_model("{hub_id}")\n'
        'crispseg.Predictor(model)("street.jpg").save("labels.png")\n```',
        *_plugin_blocks(card),
        f"Or from the command line: `crispseg segment {hub_id} street.jpg --out masks`.",
    ]
    if source := card.get("source"):
        blocks += ["## Source", "\n".join(f"- {name}: {_one_line(value)}" for name, value in source.items())]
    if metrics := card.get("metrics"):
        averaging = metrics.get("averaging", {})
        rows = [
            f"| {_one_line(name)} | {_one_line(value)} | {_one_line(averaging.get(name.partition(', ')[0], ''))} |"
            for name, value in _scores({key: value for key, value in metrics.items() if key != "averaging"})
        ]
        blocks += ["## Scores", "\n".join(["| score | value | averaged |", "|---|---|---|", *rows])]
    if notes := card.get("notes"):
        blocks += ["## Notes", notes]
    return "\n\n".join(blocks) + "\n"


def _without_paths(card: Mapping[str, Any]) -> dict[str, Any]:
    """The card without what the recipe says of the machine that it ran on."""
    recipe = card.get("recipe")
    if not recipe:
        return dict(card)
    data = {**recipe.get("data", {}), "root": None}
    model = {**recipe.get("model", {}), "backbone_weights": None, "weights": None}
    loss = {**recipe.get("loss", {}), "inverse_form_network": None}
    return {**card, "recipe": {**recipe, "data": data, "model": model, "loss": loss}}


def _push(contents: Mapping[str, Path | bytes], hub_id: str, private: bool, token: str | None, message: str) -> str:
    # A token from a file often ends in a line break; the HTTP library's error about it would show the token.
    token = "".join((token or "").split()) or None
    api = huggingface_hub.HfApi(token=token)
    try:
        make = partial(api.create_repo, private=True) if private else api.create_repo
        address = make(hub_id, exist_ok=True)
        seen_by_all = private and not api.model_info(hub_id).private
        if not seen_by_all:
            files = [huggingface_hub.CommitOperationAdd(name, content) for name, content in contents.items()]
            api.create_commit(hub_id, files, commit_message=message)
    except Exception as error:  # network, proxy, login, rights and broken files each raise their own
        raise WeightsError(f"{hub_id}: not pushed; {_why_not_pushed(error)}") from error
    if seen_by_all:  # the Hub ignores the wish for a repository that exists
        raise WeightsError(
            f"{hub_id}: not pushed; it exists and is public, private was asked; make it private in its settings on the "
            "Hub, or push to another name"
        )
    return str(address)


def _why_not_pushed(error: Exception) -> str:
    error, status = cause_and_status(error)
    if isinstance(error, HFValidationError):
        return f"the Hugging Face Hub takes no such name ({in_short(error, status)}); choose another"
    if status == 401:
        return f"the Hugging Face Hub does not know you: no token, or not a valid one; {LOG_IN}"
    if status == 403:
        return (
            "the Hugging Face Hub does not let you write there; use your own user name or an organisation of yours, "
            f"and a token with write access: {LOG_IN}"
        )
    advice = "push again later" if status else "connect to the network and push again"
    return f"the Hugging Face Hub did not take it ({in_short(error, status)}); {advice}"


def _plugin_blocks(card: Mapping[str, Any]) -> list[str]:
    words = "; ".join(
        f"{entry['part']} `{_one_line(entry['name'])}` of the plugin {_one_line(plugin_in_words(entry))}"
        for entry in named_plugins(card)
    )
    if not words:
        return []
    return [f"It needs code from outside of crispseg: {words}. Give it with `crispseg.load_plugin`, or `--plugin`."]


def _licence_metadata(card: Mapping[str, Any]) -> dict[str, str]:
    words = "-".join(str(card.get("licence") or "unknown").lower().split())
    identifier = re.sub(r"-(only|or-later|licen[cs]e)$", "", words)
    if _HUB_LICENCE.fullmatch(identifier):
        return {"license": identifier}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", identifier).strip("-.") or "unknown"}


def _facts(card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the page tells of every model: name and text."""
    config, recipe = card["model"], card.get("recipe")
    yield "head", f"`{config['head']}`"
    yield "context", f"`{config['context']}`"
    yield "backbone", f"`{config['backbone']}`, output stride {config['output_stride']}"
    if recipe:
        yield "recipe", f"`{recipe.get('name')}`"
        if recipe.get("model", {}).get("pretrained"):
            yield "pretraining", "the backbone began from timm's ImageNet weights"
    yield "licence", card.get("licence") or "unknown"
    yield "written by", f"crispseg {card.get('crispseg_version', '(version unknown)')}"


def _scores(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """A row a score; what holds one number a class or a radius is one row as well."""
    for name, value in metrics.items():
        if not isinstance(value, Mapping):
            yield prefix + name, _number(value)
        elif any(isinstance(entry, Mapping) for entry in value.values()):
            yield from _scores(value, f"{prefix}{name}, ")
        else:
            yield prefix + name, ", ".join(f"{key}: {_number(entry)}" for key, entry in value.items())


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


def _one_line(value: Any) -> str:
    """Text for a list's entry or a table's cell."""
    return " ".join(str(value).split()).replace("|", "\\|")
