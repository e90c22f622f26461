"""For every test and doctest: one thread a process (the processes are pytest-xdist's), no network, a cache apart."""

import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# What runs keep for the next one (checks of data, class look-ups) is not for the user's own cache.
os.environ["XDG_CACHE_HOME"] = os.path.join(
    tempfile.gettempdir(), f"crispseg-tests-cache-{getattr(os, 'getuid', int)()}"
)

# One seed for all processes of a run, which inherit it, so that the summary can name it even where a process died.
os.environ.setdefault("CRISPSEG_ATTACK_SEED", str(random.SystemRandom().randrange(10**6)))

# Shared machines are slow now and then; that is no failure. Examples are the same in every run.
settings.register_profile("crispseg", deadline=None, derandomize=True)
settings.load_profile("crispseg")


@pytest.fixture(scope="session")
def real_camvid() -> Path:
    """The folder of CamVid's real images, which the project does not hold; without it the test is skipped."""
    root = Path(os.environ.get("CRISPSEG_CAMVID", Path(__file__).resolve().parents[1] / "shared" / "camvid"))
    if not root.is_dir():
        pytest.skip(f"CamVid is not at {root}; set CRISPSEG_CAMVID")
    return root


@pytest.fixture
def own_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    from crispseg import registry

    for parts in vars(registry).values():
        if isinstance(parts, registry.Registry):
            for kept in ("_parts", "_options", "_plugins"):
                monkeypatch.setattr(parts, kept, dict(getattr(parts, kept)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many attacks there were; here, for xdist's process that reports never reads tests/attack/conftest.py."""
    reports = [
        report for found in terminalreporter.stats.values() for report in found if hasattr(report, "user_properties")
    ]
    sums = {"cases": 0, "refused": 0}
    for report in reports:
        if getattr(report, "when", None) == "teardown":  # items that were deselected stand among the reports
            for name, value in report.user_properties:
                sums[name] = sums.get(name, 0) + value
    if sums["cases"]:
        seed = os.environ["CRISPSEG_ATTACK_SEED"]
        counted = f"{sums['cases']} cases, {sums['refused']} refused"
        terminalreporter.write_line(f"attack: {counted}, CRISPSEG_ATTACK_SEED={seed}")
