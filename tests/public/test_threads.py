"""Threads around the network: order, bounds, errors in their turn, and an end at once."""

import threading
import time

import pytest

from crispseg.threads import Workers


@pytest.mark.parametrize("side", ["ahead", "behind"])
def test_results_come_in_order_whatever_finishes_first(side: str):
    def slow_if_even(number: int) -> int:
        time.sleep(0.003 * (number % 2 == 0))
        return number

    with Workers(3) as workers:
        assert list(getattr(workers, side)(slow_if_even, range(20), lambda newest: 4)) == list(range(20))


@pytest.mark.parametrize(("side", "bound"), [("ahead", 4), ("behind", 3)])
def test_no_more_items_are_taken_than_there_is_room_for(side: str, bound: int):
    begun = 0

    def items():
        nonlocal begun
        for number in range(1, 21):
            begun = number
            yield number

    with Workers(2) as workers:
        for number in getattr(workers, side)(abs, items(), lambda newest: 2):
            assert begun - number < bound


@pytest.mark.parametrize("side", ["ahead", "behind"])
def test_an_error_comes_in_its_turn(side: str):
    seen = []

    def run():
        with Workers(2) as workers:
            for quotient in getattr(workers, side)(lambda number: 6 // number, [1, 2, 0, 3], lambda newest: 4):
                seen.append(quotient)  # noqa: PERF402 # what came before the error is what is asked

    with pytest.raises(ZeroDivisionError):
        run()
    assert seen == [6, 3]


def test_what_has_not_begun_is_dropped_and_what_has_is_told():
    begun = []
    started = threading.Event()

    def two_and_an_interrupt():
        yield 1
        yield 2
        started.wait(10)
        raise KeyboardInterrupt

    def run():
        with Workers(1) as workers:

            def wait(number: int) -> None:
                begun.append(number)
                started.set()
                assert workers.leaving.wait(10)

            list(workers.behind(wait, two_and_an_interrupt(), lambda newest: 5))

    with pytest.raises(KeyboardInterrupt):
        run()
    assert begun == [1]
