"""Threads beside the caller: the same items in the same order, a bound on what waits, failures once, no thread left."""

import threading
from collections.abc import Iterator

import pytest

from acinus.threads import PER_THREAD, drawn_ahead, handed_on, mapped_ahead


class BrokenError(Exception):
    pass


def failing_after(count: int) -> Iterator[int]:
    yield from range(count)
    raise BrokenError(f"after {count}")


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("depth", [1, 2, 50])
@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_items_come_in_order(count: int, depth: int) -> None:
    with drawn_ahead(range(count), depth) as items:
        assert list(items) == list(range(count))
    assert handed_on(range(count), list, depth) == list(range(count))


def test_items_are_drawn_and_worked_on_in_another_thread() -> None:
    here = threading.get_ident()

    def identity(items: Iterator[int]) -> int:
        assert len(list(items)) == 2
        return threading.get_ident()

    with drawn_ahead(threading.get_ident() for _ in range(2)) as items:
        assert here not in list(items)
    assert handed_on(range(2), identity) != here


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_than_the_depth_wait(depth: int) -> None:
    drawn, taken, most = 0, 0, 0

    def counted() -> Iterator[int]:
        nonlocal drawn, most
        for number in range(40):
            drawn += 1
            most = max(most, drawn - taken)
            yield number

    with drawn_ahead(counted(), depth) as items:
        for _ in items:
            taken += 1
    assert drawn == 40
    assert most <= depth + 2  # one in the drawing thread, those that wait, one on its way to the caller
    given, done, most = 0, 0, 0

    def offered() -> Iterator[int]:
        nonlocal given, most
        for number in range(40):
            given += 1
            most = max(most, given - done)
            yield number

    def work(items: Iterator[int]) -> None:
        nonlocal done
        for _ in items:
            done += 1

    handed_on(offered(), work, depth)
    assert done == 40
    assert most <= depth + 2


def test_the_next_item_is_drawn_while_the_caller_works() -> None:
    second = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        second.set()
        yield 1

    with drawn_ahead(items()) as given:
        assert next(given) == 0
        assert second.wait(10)  # without asking for it
        assert next(given) == 1


@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_failed_draw_is_raised_where_its_item_is_missing(count: int) -> None:
    with drawn_ahead(failing_after(count)) as items:
        assert [next(items) for _ in range(count)] == list(range(count))
        with pytest.raises(BrokenError, match=f"after {count}"):
            next(items)


def test_leaving_early_ends_the_thread() -> None:
    with drawn_ahead(iter(int, 1), 2) as items:  # without end
        assert next(items) == 0
    with pytest.raises(BrokenError), drawn_ahead(iter(int, 1), 2):
        raise BrokenError


def test_a_failed_draw_stops_the_work_and_is_what_is_raised() -> None:
    seen: list[int] = []
    finished = False

    def work(items: Iterator[int]) -> None:
        nonlocal finished
        seen.extend(items)
        finished = True

    with pytest.raises(BrokenError, match="after 3"):
        handed_on(failing_after(3), work)
    assert seen in ([], [0], [0, 1], [0, 1, 2])
    assert not finished


def test_failed_work_stops_the_drawing_and_is_what_is_raised() -> None:
    def work(items: Iterator[int]) -> None:
        assert next(items) == 0
        raise BrokenError("work")

    with pytest.raises(BrokenError, match="work"):
        handed_on(iter(int, 1), work)


def test_work_that_needs_no_more_ends_the_drawing() -> None:
    assert handed_on(iter(int, 1), next) == 0


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(threads: int) -> None:
    slow = threading.Event()

    def work(item: int) -> int:
        if item == 0 and threads > 1:
            slow.wait(5)  # the first is the last to be done
        if item == 3:
            slow.set()
        return item * item

    assert list(mapped_ahead(work, range(50), threads)) == [item * item for item in range(50)]
    assert list(mapped_ahead(work, [], threads)) == []


@pytest.mark.parametrize("threads", [1, 3])
def test_no_more_is_drawn_than_may_be_under_way(threads: int) -> None:
    drawn = []
    taken = mapped_ahead(abs, (drawn.append(item) or item for item in range(1000)), threads)
    for number in range(20):
        next(taken)
        assert len(drawn) - number <= (PER_THREAD * threads if threads > 1 else 1)
    taken.close()


def test_a_failure_is_raised_at_its_item_and_ends_the_threads() -> None:
    before = threading.active_count()
    found = []
    with pytest.raises(ZeroDivisionError):
        found.extend(mapped_ahead(lambda item: 1 // (item - 5), range(100), 2))
    results = mapped_ahead(lambda item: 1 // (item - 5), range(100), 2)
    assert [next(results) for _ in range(5)] == [1 // (item - 5) for item in range(5)]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert threading.active_count() == before


def test_an_early_close_ends_the_threads() -> None:
    before = threading.active_count()
    results = mapped_ahead(abs, range(1000), 4)
    next(results)
    assert threading.active_count() > before
    results.close()
    assert threading.active_count() == before


def test_a_failing_source_passes_its_failure_on_and_ends_the_threads() -> None:
    def items():
        yield from range(20)
        raise KeyError("source")

    before = threading.active_count()
    with pytest.raises(KeyError, match="source"):
        list(mapped_ahead(abs, items(), 2))
    assert threading.active_count() == before
