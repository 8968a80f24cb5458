"""Graders learn what can be learned, find the patch that decides, and do so again bit by bit."""

import numpy as np
import pytest
import torch
from safetensors.torch import save

from acinus import params
from acinus.errors import AcinusError
from acinus.grading.apply import judge
from acinus.grading.fit import Example, Known, fit, learn, mean_loss
from acinus.grading.mil import Loss, MilSpec


def settings(max_epochs: int, lr: float, weight_decay: float) -> params.Grade:
    return params.Grade(target="tumor", max_epochs=max_epochs, lr=lr, weight_decay=weight_decay)


SCHEDULE = settings(16, 1e-2, 1e-4)


def spec(loss: Loss = "ordinal", classes: int = 2, dropout: float = 0.25) -> MilSpec:
    return MilSpec(features=8, classes=classes, hidden_units=16, attention_units=8, dropout=dropout, loss=loss)


def marked(count: int, seed: int) -> tuple[list[Example], list[int]]:
    """Bags of different sizes; half of them hold one patch with a large first feature, whose place is returned."""
    rng, examples, where = np.random.default_rng(seed), [], []
    for number in range(count):
        features = rng.normal(size=(int(rng.integers(3, 12)), 8)).astype(np.float32)
        place = int(rng.integers(len(features)))
        if number % 2:
            features[place, 0] += 6.0
        examples.append(Example(features, number % 2))
        where.append(place)
    return examples, where


@pytest.mark.parametrize("loss", ["ordinal", "cross_entropy"])
def test_one_marked_patch_decides_and_attention_finds_it(loss: Loss) -> None:
    fitted = fit(marked(40, 0)[0], marked(20, 1)[0], spec(loss), SCHEDULE, 5)
    examples, where = marked(40, 2)
    verdicts = [judge([fitted.model], one.features) for one in examples]
    assert np.mean([verdict.grade == one.label for verdict, one in zip(verdicts, examples, strict=True)]) >= 0.95
    found = [
        int(np.argmax(verdict.attention)) == place
        for verdict, one, place in zip(verdicts, examples, where, strict=True)
        if one.label
    ]
    assert np.mean(found) >= 0.95


def test_an_ordered_grade_is_learned_within_one_step() -> None:
    rng = np.random.default_rng(0)

    def slides(count: int) -> list[Example]:
        levels = np.arange(count) % 6
        return [Example((rng.normal(size=(8, 8)) + level).astype(np.float32), int(level)) for level in levels]

    fitted = fit(slides(60), slides(18), spec(classes=6), SCHEDULE, 1)
    tested = slides(60)
    away = [abs(judge([fitted.model], one.features).grade - one.label) for one in tested]
    assert max(away) <= 1
    assert np.mean(np.array(away) == 0) > 0.7


def test_the_same_seed_gives_the_same_bytes_and_leaves_the_random_state_alone() -> None:
    train, val = marked(10, 0)[0], marked(6, 1)[0]
    schedule = settings(3, 1e-3, 1e-4)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    one = fit(train, val, spec(), schedule, 4)
    assert torch.equal(torch.rand(3), expected)
    assert save(one.model.state_dict()) == save(fit(train, val, spec(), schedule, 4).model.state_dict())
    assert save(one.model.state_dict()) != save(fit(train, val, spec(), schedule, 5).model.state_dict())


def test_the_best_epoch_on_validation_is_kept() -> None:
    train, val = marked(12, 0)[0], marked(12, 1)[0]
    val = [Example(one.features, 1 - one.label) for one in val]  # what is learned is wrong there
    fitted = fit(train, val, spec(), settings(40, 5e-3, 1e-4), 0)
    assert fitted.best_epoch < 5  # and 15 more without a better one
    assert fitted.epochs == fitted.best_epoch + 15
    assert fitted.val_loss == pytest.approx(mean_loss(fitted.model, val), abs=1e-7)
    to_the_end = fit(train, [], spec(), settings(20, 5e-3, 1e-4), 0)
    assert (to_the_end.epochs, to_the_end.best_epoch, to_the_end.val_loss) == (20, 20, None)


def test_features_are_standardised_by_the_training_slides_alone() -> None:
    train, val = marked(6, 0)[0], [Example(marked(1, 1)[0][0].features * 1000, 0)]
    model = fit(train, val, spec(), settings(1, 1e-3, 0.0), 0).model
    every = np.concatenate([one.features for one in train])
    assert model.mean.tolist() == pytest.approx(every.mean(axis=0).tolist(), abs=1e-5)
    assert model.std.tolist() == pytest.approx(every.std(axis=0).tolist(), abs=1e-5)
    still = [Example(np.full((2, 8), 3, dtype=np.float32), label) for label in (0, 1)]
    assert np.isfinite(judge([fit(still, [], spec(), settings(1, 1e-3, 0.0), 0).model], still[0].features).probs).all()


def test_a_training_that_diverges_is_named() -> None:
    bags = [Example(np.full((2, 8), np.nan, dtype=np.float32), 0)]
    with pytest.raises(AcinusError, match=r"lower grade\.lr"):
        fit(bags, bags, spec(), SCHEDULE, 0)


def test_test_slides_teach_nothing() -> None:
    small = params.Grade(target="tumor", max_epochs=2, hidden_units=4, attention_units=2)
    names = [f"s{number}" for number in range(6)]
    known = [Known(name, ("train", "val", "test")[i % 3], i % 2) for i, name in enumerate(names)]
    features = {name: np.random.default_rng(i).normal(size=(3, 4)).astype(np.float32) for i, name in enumerate(names)}
    one = learn(features, known, small, 2, [1, 2])
    without = {name: value for name, value in features.items() if name not in ("s2", "s5")}
    kept = [slide for slide in known if slide.split != "test"]
    other = learn(without, kept, small, 2, [1, 2])
    for a, b in zip(one, other, strict=True):
        assert save(a.model.state_dict()) == save(b.model.state_dict())
    assert save(one[0].model.state_dict()) != save(one[1].model.state_dict())
    with pytest.raises(AcinusError, match="no training slide with a label has tissue"):
        learn(features, [slide for slide in known if slide.split != "train"], small, 2, [1])


def test_the_verdict_is_the_mean_of_the_seeds() -> None:
    train = marked(10, 0)[0]
    models = [fit(train, [], spec(classes=3), settings(2, 1e-2, 0.0), seed).model for seed in range(4)]
    features = train[0].features
    alone, together = [judge([model], features) for model in models], judge(models, features)
    assert together.probs == pytest.approx(np.mean([one.probs for one in alone], axis=0))
    assert together.attention == pytest.approx(np.mean([one.attention for one in alone], axis=0))
    assert together.by_seed == tuple(one.grade for one in alone)
    assert together.spread == pytest.approx(np.std([np.dot(one.probs, range(3)) for one in alone]))
    assert together.confidence == together.probs[together.grade]
    assert sum(together.attention) == pytest.approx(1.0, abs=1e-12)
    assert alone[0].spread == 0.0
