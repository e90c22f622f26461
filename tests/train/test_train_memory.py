"""The C library's setting is taken where there is glibc, and harmless elsewhere."""

import platform
import sys

from crispseg.train.memory import LITTLE, keep_freed_memory


def test_glibc_takes_the_setting():
    glibc = sys.platform.startswith("linux") and platform.libc_ver()[0] == "glibc"
    assert keep_freed_memory() is glibc
    assert keep_freed_memory(LITTLE) is glibc
