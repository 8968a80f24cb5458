"""Steps and rates by hand, and that frozen weights stay."""

from typing import Any, get_args

import pytest
import torch
from torch import nn

from acinus import params
from acinus.errors import AcinusError
from acinus.learning.optimisers import OPTIMISERS, RATES, Schedule, build_optimiser, epochs_of, poly


def settings(**values: object) -> params.Train:
    return params.Train.model_validate({"lr": 0.1, **values})


class One(nn.Module):
    """One weight of 1, which the loss pulls down with slope 2."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1.0]))


def steps(train: params.Train, count: int) -> list[float]:
    model = One()
    optimizer, seen = build_optimiser(model, train), []
    for _ in range(count):
        optimizer.zero_grad()
        (2 * model.w).sum().backward()
        optimizer.step()
        seen.append(float(model.w.detach()))
    return seen


def test_sgd_with_momentum_and_decay_by_hand() -> None:
    # v1 = 2 + .5 * 1 = 2.5, w1 = .75; v2 = .9 * 2.5 + 2 + .5 * .75 = 4.625, w2 = .2875
    assert steps(settings(optimizer="sgd", momentum=0.9, weight_decay=0.5), 2) == pytest.approx([0.75, 0.2875])


def test_rmsprop_by_hand() -> None:
    # square averages .01 * 4 = .04, then .99 * .04 + .04 = .0796; steps .1 * 2 / root
    first = 1 - 0.1 * 2 / 0.04**0.5
    assert steps(settings(optimizer="rmsprop"), 2) == pytest.approx([first, first - 0.1 * 2 / 0.0796**0.5], abs=1e-6)
    with_momentum = steps(settings(optimizer="rmsprop", momentum=0.5), 2)
    assert with_momentum == pytest.approx([first, first - 0.1 * 2 / 0.0796**0.5 - 0.5], abs=1e-6)


def test_adam_by_hand() -> None:
    assert steps(settings(optimizer="adam"), 2) == pytest.approx([0.9, 0.8], rel=1e-5)  # constant slope: lr per step


def test_adamw_shrinks_the_weight_apart_from_the_slope() -> None:
    # w * (1 - lr * decay), then a step of lr as Adam's
    assert steps(settings(optimizer="adamw", weight_decay=0.5), 1) == pytest.approx([0.95 - 0.1], rel=1e-5)


def test_frozen_weights_are_not_given_to_the_optimiser() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    for name in OPTIMISERS:
        groups: Any = build_optimiser(model, settings(optimizer=name)).param_groups
        assert [id(weight) for weight in groups[0]["params"]] == [id(weight) for weight in model[1].parameters()]
    with pytest.raises(AcinusError, match="every weight is frozen"):
        build_optimiser(model.requires_grad_(False), settings())


def test_poly_by_hand() -> None:
    straight, bent = settings(lr=0.01, poly_power=1.0), settings(lr=0.01, poly_power=0.9)
    assert [poly(straight, step, 4) for step in range(6)] == pytest.approx([0.01, 0.0075, 0.005, 0.0025, 0, 0])
    assert poly(bent, 10_000, 20_000) == pytest.approx(0.01 * 0.5**0.9)


def rates(train: params.Train, losses: list[float], per_epoch: int = 2) -> list[float]:
    optimizer = build_optimiser(One(), train)
    schedule, seen = Schedule(train, optimizer, per_epoch * len(losses)), []
    for epoch, loss in enumerate(losses):
        for step in range(per_epoch):
            schedule.before_step(epoch * per_epoch + step)
            seen.append(schedule.rate)
            assert optimizer.param_groups[0]["lr"] == schedule.rate
        schedule.after_epoch(loss)
    return seen


def test_schedules_by_hand() -> None:
    worse = [1.0, 2.0, 3.0, 4.0]
    assert rates(settings(schedule="constant"), worse) == [0.1] * 8
    falling = rates(settings(schedule="poly", poly_power=1.0), worse)
    assert falling == pytest.approx([0.1 * (8 - step) / 8 for step in range(8)])
    plateau = rates(settings(schedule="plateau", plateau_patience=1, plateau_factor=0.5), worse)
    assert plateau == pytest.approx([0.1] * 6 + [0.05] * 2)  # the second epoch without a gain lowers it
    assert rates(settings(schedule="plateau", plateau_patience=1), worse[::-1]) == [0.1] * 8


@pytest.mark.parametrize(("count", "share"), [(40, 0.3), (300, 0.25), (7, 0.5), (12, 0.0)])
def test_one_cycle_is_that_of_torch(count: int, share: float) -> None:
    optimizer = torch.optim.AdamW([nn.Parameter(torch.ones(1))], lr=0.1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=count, pct_start=share)
    expected = []
    for _ in range(count):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step() if len(expected) < count else None
    train = settings(schedule="one_cycle", warmup_share=share)
    assert rates(train, [1.0], per_epoch=count) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("count", "share", "warm"), [(40, 0.3, 12), (300, 0.25, 75), (9, 0.0, 0)])
def test_cosine_is_that_of_torch_after_a_straight_warm_up(count: int, share: float, warm: int) -> None:
    from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    theirs: LRScheduler = CosineAnnealingLR(optimizer, count - warm)
    if warm:
        rise = LinearLR(optimizer, 1 / warm, 1.0, warm - 1)
        theirs = SequentialLR(optimizer, [rise, theirs], [warm])
    expected = []
    for _ in range(count):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    assert rates(settings(schedule="cosine", warmup_share=share), [1.0], per_epoch=count) == pytest.approx(expected)


def test_schedules_are_those_of_the_recipe() -> None:
    known = set(get_args(params.Train.model_fields["schedule"].annotation))
    assert set(RATES) | {"plateau", "constant"} == known


def test_only_the_plateau_rule_has_a_state() -> None:
    for name in ("constant", "poly", "plateau"):
        train = settings(schedule=name, plateau_patience=0)
        schedule = Schedule(train, build_optimiser(One(), train), 4)
        schedule.after_epoch(1.0)
        state = schedule.state_dict()
        assert bool(state) == (name == "plateau")
        again = Schedule(train, build_optimiser(One(), train), 4)
        again.load_state_dict(state)
        again.after_epoch(2.0)  # worse than what the state remembers
        assert again.rate == (0.05 if name == "plateau" else 0.1)


@pytest.mark.parametrize(
    ("iterations", "per_epoch", "epochs"), [(None, 7, 50), (20, 5, 4), (21, 5, 5), (1, 5, 1), (20_000, 395, 51)]
)
def test_iterations_are_rounded_up_to_whole_epochs(iterations: int | None, per_epoch: int, epochs: int) -> None:
    assert epochs_of(settings(max_epochs=50, max_iterations=iterations), per_epoch) == epochs


def test_the_registry_has_the_names_of_the_recipe() -> None:
    assert set(OPTIMISERS) == set(get_args(params.Train.model_fields["optimizer"].annotation))
