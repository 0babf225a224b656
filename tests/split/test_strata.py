import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stages.split.strata import find_strata, quantile_bins

ALONE = np.arange(1000)
numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200)


def test_each_image_belongs_to_its_class():
    strata, names = find_strata(np.array([0, 2, 2]), "multiclass", ["a", "b", "c"], ALONE[:3])
    assert strata.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 1]]
    assert names == ["a", "b", "c"]


def test_each_image_belongs_to_its_labels_and_one_without_any_to_none():
    truth = np.array([[1, 1], [0, 1]])
    strata, names = find_strata(truth, "multilabel", ["a", "b"], ALONE[:2])
    assert (strata.tolist(), names) == (truth.tolist(), ["a", "b"])
    strata, names = find_strata(np.array([[1, 1], [0, 0]]), "multilabel", ["a", "b"], ALONE[:2])
    assert strata.tolist() == [[1, 1, 0], [0, 0, 1]]
    assert names == ["a", "b", ""]


def test_numbers_belong_to_bins_of_one_size_named_by_their_range():
    values = np.arange(40)[::-1] / 2
    strata, names = find_strata(values, "regression", [], ALONE[:40])
    assert names == ["0 to 4.5", "5 to 9.5", "10 to 14.5", "15 to 19.5"]
    assert strata.sum(axis=0).tolist() == [10, 10, 10, 10]
    assert strata[0].tolist() == [0, 0, 0, 1]


def test_there_are_ten_bins_at_most_and_one_for_few_groups():
    values = np.arange(1000) / 7
    assert len(find_strata(values, "regression", [], ALONE)[1]) == 10
    assert len(find_strata(values, "regression", [], ALONE // 50)[1]) == 2
    assert find_strata(values, "regression", [], ALONE // 500)[1] == ["0 to 142.714"]


@given(numbers, st.integers(0, 20))
def test_bins_follow_the_values_and_equal_values_share_one(values, wanted):
    values = np.array(values)
    bins = quantile_bins(values, wanted)
    assert set(bins) == set(range(bins.max() + 1))
    assert len(set(bins)) <= min(max(wanted, 1), 10)
    order = np.argsort(values, kind="stable")
    assert (np.diff(bins[order]) >= 0).all()
    assert (np.diff(bins[order])[np.diff(values[order]) == 0] == 0).all()


@given(numbers)
def test_every_bin_has_a_name_of_its_own_and_an_image(values):
    # Ranges that differ in the last digit only are still told apart.
    values = 1 + np.array(values) * 2.0**-50
    strata, names = find_strata(values, "regression", [], np.arange(len(values)))
    assert len(set(names)) == len(names) == strata.shape[1]
    assert (strata.sum(axis=1) == 1).all() and strata.any(axis=0).all()


def test_a_value_of_most_images_is_one_bin():
    values = np.repeat([0.0, 1.5, 2.5], [80, 10, 10])
    strata, names = find_strata(values, "regression", [], ALONE[:100])
    assert names == ["0", "1.5", "2.5"]
    assert strata.sum(axis=0).tolist() == [80, 10, 10]
