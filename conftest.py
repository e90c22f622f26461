"""For every test and doctest: one thread a process (the processes are pytest-xdist's), and no network."""

import os

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

# Shared machines are slow now and then; that is no failure. Examples are the same in every run.
settings.register_profile("crispseg", deadline=None, derandomize=True)
settings.load_profile("crispseg")
