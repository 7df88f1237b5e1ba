"""Medians, quartiles and intervals, on samples whose answer is known."""

import random

import pytest
from benchmarks.measuring import Spread, difference_of_medians, ratio_of_medians


def test_quartiles_lie_around_the_median() -> None:
    spread = Spread.of([5.0, 1.0, 3.0, 2.0, 4.0])
    assert (spread.count, spread.low, spread.median, spread.high) == (5, 2.0, 3.0, 4.0)


def test_a_single_sample_has_no_spread() -> None:
    assert Spread.of([7.0]) == Spread(1, 7.0, 7.0, 7.0)


def test_one_outlier_does_not_move_the_figure() -> None:
    quiet = [1.0, 1.01, 0.99, 1.0, 1.02]
    assert ratio_of_medians([*quiet[:-1], 50.0], quiet).value == pytest.approx(1.0, abs=0.02)


def test_the_interval_holds_the_true_ratio_and_narrows_with_more_samples() -> None:
    chance = random.Random(1)

    def interval(count: int) -> tuple[float, float]:
        slow = [chance.gauss(2.0, 0.2) for _ in range(count)]
        fast = [chance.gauss(1.0, 0.1) for _ in range(count)]
        estimate = ratio_of_medians(slow, fast)
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low <= estimate.value <= estimate.high
        return estimate.low, estimate.high

    few, many = interval(8), interval(200)
    assert many[0] < 2.0 < many[1]
    assert many[1] - many[0] < few[1] - few[0]


def test_noise_that_meets_a_whole_round_does_not_widen_the_interval() -> None:
    noise = [1.0, 3.0, 1.5, 2.5, 1.2, 2.8, 2.0]
    subject, baseline = [1.2 * each for each in noise], noise
    paired = ratio_of_medians(subject, baseline)
    assert paired.low == pytest.approx(1.2)
    assert paired.high == pytest.approx(1.2)


def test_two_samples_give_a_figure_and_no_interval() -> None:
    estimate = difference_of_medians([3.0, 5.0], [1.0, 1.0])
    assert (estimate.value, estimate.low, estimate.high) == (3.0, None, None)


def test_the_same_samples_give_the_same_interval() -> None:
    samples = [1.0, 1.1, 1.3, 0.9], [0.8, 1.0, 0.9, 1.2]
    assert ratio_of_medians(*samples) == ratio_of_medians(*samples)
