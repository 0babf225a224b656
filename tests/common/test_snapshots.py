"""What is kept of a training after each epoch, and what is put back."""

import keras
import numpy as np
import pytest

from stages.common.snapshots import Resume, finished_epochs

FIRST, SECOND = [{"loss": 0.1 + 0.2}, {"loss": 1 / 3}], [{"loss": 5e-324, "accuracy": 1.0}]


def variables() -> list[keras.Variable]:
    """Return one of each kind that training moves: weights, a counter, a random state."""
    return [
        keras.Variable(np.array([[0.1, -2.0]]), dtype="float32"),
        keras.Variable(np.array(7), dtype="int64"),
        keras.Variable(np.array([1, 2**32 - 1]), dtype="uint32"),
    ]


def zeroed() -> list[keras.Variable]:
    cleared = variables()
    for one in cleared:
        one.assign(np.zeros(one.shape))
    return cleared


def test_what_was_kept_is_put_back_to_the_last_bit(tmp_path):
    path, best = tmp_path / "deep/state.npz", [np.array([1.5]), np.array([[2, 3]])]
    Resume(path, [], variables()).save(FIRST, best)
    fresh = zeroed()
    history, kept = Resume(path, [], fresh).load()
    assert history == FIRST
    np.testing.assert_equal(kept, best)
    for one, expected in zip(fresh, variables(), strict=True):
        assert one.dtype == expected.dtype
        np.testing.assert_array_equal(one.numpy(), expected.numpy())


def test_without_best_weights_none_come_back(tmp_path):
    Resume(tmp_path / "state.npz", [], variables()).save(FIRST, None)
    assert Resume(tmp_path / "state.npz", [], zeroed()).load() == (FIRST, None)


def test_many_best_weights_keep_their_order(tmp_path):
    best = [np.array(i) for i in range(12)]
    Resume(tmp_path / "state.npz", [], []).save(FIRST, best)
    _, kept = Resume(tmp_path / "state.npz", [], []).load()
    assert [int(one) for one in kept] == list(range(12))


def test_a_later_epoch_replaces_the_earlier_one(tmp_path):
    path, moving = tmp_path / "state.npz", variables()
    resume = Resume(path, [], moving)
    resume.save(FIRST[:1], None)
    moving[1].assign(8)
    resume.save(FIRST, None)
    fresh = zeroed()
    assert Resume(path, [], fresh).load()[0] == FIRST
    assert int(fresh[1].numpy()) == 8
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_put_back_where_nothing_was_kept(tmp_path):
    path, untouched = tmp_path / "state.npz", variables()
    assert Resume(path, [], untouched).load() is None
    assert finished_epochs(path) == []
    assert untouched[1].numpy() == 7


def test_each_phase_takes_its_own_state_alone(tmp_path):
    path = tmp_path / "state.npz"
    Resume(path, [], variables()).save(FIRST, None)
    assert Resume(path, [FIRST], zeroed()).load() is None

    Resume(path, [FIRST], variables()).save(SECOND, None)
    assert Resume(path, [], zeroed()).load() is None
    assert Resume(path, [FIRST], zeroed()).load() == (SECOND, None)
    assert finished_epochs(path) == [FIRST, SECOND]


def test_a_save_that_fails_leaves_the_last_state(tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    Resume(path, [], variables()).save(FIRST, None)

    def full_disk(file, **arrays):
        file.write(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="no space"):
        Resume(path, [], zeroed()).save(SECOND, None)
    monkeypatch.undo()
    fresh = zeroed()
    assert Resume(path, [], fresh).load() == (FIRST, None)
    assert fresh[1].numpy() == 7
