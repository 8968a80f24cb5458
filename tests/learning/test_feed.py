"""Batches made ahead are the loader's own; the thread goes; and the waits are counted by the clock."""

import threading
import time
from collections.abc import Iterator

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from acinus.learning import dataset as dataset_module
from acinus.learning.dataset import BATCHES, Feed, Stopwatch


class Numbers(Dataset[int]):
    """The numbers themselves, noting by which thread each was made."""

    def __init__(self, count: int, broken: int = -1) -> None:
        self.count, self.broken = count, broken
        self.made: list[int] = []
        self.threads: set[str] = set()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, item: int) -> int:
        if item == self.broken:
            raise ValueError(f"no {item}")
        self.made.append(item)
        self.threads.add(threading.current_thread().name)
        return item


class Clock:
    """A clock that goes on only when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def feed(data: Numbers, size: int = 3) -> Feed:
    loader = DataLoader(data, batch_size=size, generator=torch.Generator().manual_seed(0))
    return Feed(loader, Stopwatch(time.perf_counter), threading.Lock())


def flat(batches: Iterator[torch.Tensor] | Feed) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


def alive() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("batches")]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 20])
def test_the_batches_are_the_loaders_and_made_by_a_thread_that_goes(count: int) -> None:
    data = Numbers(count)
    source = feed(data)
    expected = [list(range(start, min(start + 3, count))) for start in range(0, count, 3)]
    assert len(source) == len(expected)
    assert flat(source) == expected
    assert flat(source) == expected  # an epoch more
    assert data.made == [*range(count), *range(count)]
    assert all(name.startswith("batches") for name in data.threads)
    assert alive() == []


def test_the_thread_goes_with_the_last_batch_though_nobody_asks_for_more() -> None:
    batches = iter(feed(Numbers(9)))
    for _ in range(3):
        next(batches)
    deadline = time.monotonic() + 20
    while alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert alive() == []


def test_no_more_than_two_batches_wait_and_a_break_ends_the_thread() -> None:
    data = Numbers(60)
    batches = iter(feed(data))
    assert next(batches).tolist() == [0, 1, 2]
    batches.close()
    assert alive() == []
    assert len(data.made) <= 3 * (1 + BATCHES)


def test_what_breaks_in_the_thread_is_raised_where_the_batch_is_asked_for() -> None:
    batches = iter(feed(Numbers(12, broken=7)))
    assert [next(batches).tolist() for _ in range(2)] == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ValueError, match="no 7"):
        next(batches)
    assert alive() == []


def test_torchs_own_random_numbers_are_left_alone() -> None:
    torch.manual_seed(5)
    flat(feed(Numbers(9)))
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))


def test_the_share_of_waiting_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    clock.now = 100.0
    watch = Stopwatch(clock)

    def slowly(loader: DataLoader[int], reading: object) -> Iterator[torch.Tensor]:
        for seconds, batch in zip((1.0, 0.5, 0.0), loader, strict=True):
            clock.now += seconds
            yield batch

    monkeypatch.setattr(dataset_module, "_made_ahead", slowly)
    source = Feed(DataLoader(Numbers(3)), watch, threading.Lock())
    clock.now += 50.0  # before the first batch is asked for
    for _ in source:
        clock.now += 2.0
        watch.stepped()
        clock.now += 7.0  # between a step and the next question: neither
    assert watch.share() == pytest.approx(1.5 / 7.5)
    assert watch.share() == 0.0  # starts over, and nothing was measured
