"""Counted random numbers: uniform, uncorrelated, and each one by itself."""

import numpy as np

from pellucid.train.augmentation import uniform_numbers


def test_numbers_are_uniform_and_uncorrelated():
    table = uniform_numbers(1, 2, np.arange(40_000), range(4)).T
    assert table.min() >= 0
    assert table.max() < 1
    np.testing.assert_allclose(table.mean(axis=0), 0.5, atol=5 / np.sqrt(12 * 40_000))
    np.testing.assert_allclose(table.var(axis=0), 1 / 12, rtol=0.03)
    assert np.abs(np.corrcoef(table.T) - np.eye(4)).max() < 0.025
    assert np.abs(np.corrcoef(table[:-1, 0], table[1:, 0])[0, 1]) < 0.025


def splitmix(seed: int, epoch: int, number: int, place: int) -> float:
    """The same hash in Python's unbounded integers."""
    mask = (1 << 64) - 1

    def mix(state: int) -> int:
        state = (state + 0x9E3779B97F4A7C15) & mask
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
        return state ^ (state >> 31)

    each = mix(mix(mix(seed & mask) ^ epoch) ^ number)
    return (mix((each + (place + 1) * 0x9E3779B97F4A7C15) & mask) >> 11) / (1 << 53)


def test_each_number_is_a_function_of_its_four_names():
    own = np.array([0, 5, 2**40])
    for seed, epoch in ((0, 0), (7, 3), (2**80 + 1, 100_000)):
        table = uniform_numbers(seed, epoch, own, range(3, 70))
        for row, place in enumerate(range(3, 70)):
            assert table[row].tolist() == [splitmix(seed, epoch, int(number), place) for number in own]


def test_no_two_epochs_or_seeds_share_numbers():
    tables = [uniform_numbers(seed, epoch, np.arange(50), range(5)) for seed in range(5) for epoch in range(5)]
    assert len(np.unique(np.stack(tables))) == 25 * 50 * 5
