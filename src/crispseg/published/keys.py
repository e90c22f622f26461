"""A file's keys against the tables: which network it is, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from torch import Tensor

from crispseg.errors import WeightsError
from crispseg.published.networks import NETWORKS, PublishedNetwork
from crispseg.wording import some

__all__ = ["check_keys", "check_tensors", "recognise"]

_COUNTER = "num_batches_tracked"
_ADVICE = "fetch the file again, or see crispseg convert --list for the networks that are known"


def recognise(keys: Collection[str], source: str | Path) -> PublishedNetwork:
    """Tell from a file's keys which network it is.

    Args:
        keys: of the state dict, without ``module.``. Counters of normalisation (``num_batches_tracked``) may be absent.
        source: the file, for the error.

    Raises:
        WeightsError: if it is none; the message names the nearest one, and what differs.
    """
    differences = {name: _difference(network, keys) for name, network in NETWORKS.items()}
    nearest = min(differences, key=lambda name: sum(map(len, differences[name])))
    missing, unknown = differences[nearest]
    if not missing and not unknown:
        return NETWORKS[nearest]
    if any(key.endswith("fc.weight") for key in keys):
        raise WeightsError(
            f"{source}: holds an image classifier, not a segmentation network; to train on it, pass it as "
            "model.backbone_weights of a recipe"
        )
    if len(unknown) > len(keys) / 2:
        raise WeightsError(
            f"{source}: holds none of the released networks ({len(keys)} keys, for instance {min(keys)!r}); "
            "crispseg convert --list shows which can be converted"
        )
    raise WeightsError(f"{source}: is nearest to {nearest}, but {_in_words(missing, unknown)}; {_ADVICE}")


def check_keys(network: PublishedNetwork, keys: Collection[str], source: str | Path) -> None:
    """Require that a file has the network's keys and no others.

    Args:
        network: what the file shall be.
        keys: see `recognise`.
        source: see `recognise`.

    Raises:
        WeightsError: if not; the message says which other network it is, or what differs.
    """
    missing, unknown = _difference(network, keys)
    if not missing and not unknown:
        return
    other = next((name for name, candidate in NETWORKS.items() if not any(_difference(candidate, keys))), None)
    if other is not None:
        raise WeightsError(
            f"{source}: is {other}, not {network.name}; convert it with --from {other}, or without --from"
        )
    raise WeightsError(f"{source}: is not {network.name}: {_in_words(missing, unknown)}; {_ADVICE}")


def check_tensors(
    network: PublishedNetwork, state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], source: str | Path
) -> None:
    """Require that a file's tensors have the right shapes and are floating-point.

    Args:
        network: what the file is.
        state: released key → tensor.
        shapes: released key → the shape that it must have.
        source: see `recognise`.

    Raises:
        WeightsError: if not; the message lists the keys.
    """
    wrong = [
        f"{key} {tuple(value.shape)} instead of {shapes[key]}"
        for key, value in state.items()
        if tuple(value.shape) != shapes[key]
    ]
    if wrong:
        raise WeightsError(f"{source}: is not {network.name}: {len(wrong)} of another shape: {some(wrong)}; {_ADVICE}")
    whole = [key for key, value in state.items() if not value.is_floating_point() and not key.endswith(_COUNTER)]
    if whole:
        raise WeightsError(
            f"{source}: {len(whole)} weights are {state[whole[0]].dtype}, for instance {whole[0]}; floating-point "
            "values expected: take the file from before it was quantised"
        )


def _difference(network: PublishedNetwork, keys: Collection[str]) -> tuple[list[str], list[str]]:
    """Missing and unknown keys."""
    expected = network.table.keys() | network.unused.keys()
    # Files from before PyTorch 0.4.1 have no counters; they take no part in the output.
    missing = [key for key in expected if key not in keys and not key.endswith(_COUNTER)]
    return sorted(missing), sorted(key for key in keys if key not in expected)


def _in_words(missing: list[str], unknown: list[str]) -> str:
    parts = []
    if missing:
        parts.append(f"{len(missing)} keys are missing: {some(missing)}")
    if unknown:
        parts.append(f"{len(unknown)} are unknown: {some(unknown)}")
    return "; ".join(parts)
