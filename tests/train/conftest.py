"""Fixtures of the training tests."""

import pytest
from train_runs import TINY

from crispseg.config import Recipe
from crispseg.recipes import load_recipe
from crispseg.train import run as run_module


@pytest.fixture
def tiny():
    """A small recipe on toy streets, with changes."""

    def make(*overrides: str, system: str = "gff") -> Recipe:
        return load_recipe(f"toy/{system}", [*TINY, *overrides])

    return make


@pytest.fixture
def at_loss(monkeypatch):
    """Do something in the loss of the n-th batch, counted from 1 over all runs of a test."""

    def arrange(number, action):
        build = run_module.build_loss
        calls = 0

        def build_and_count(*arguments):
            loss = build(*arguments)

            def counted(output, labels):
                nonlocal calls
                calls += 1
                terms = loss(output, labels)
                return action(terms) or terms if calls == number else terms

            return counted

        monkeypatch.setattr(run_module, "build_loss", build_and_count)

    return arrange
