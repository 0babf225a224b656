import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.ingest.groups import join_given, name_groups, settle_conflicts


def test_images_of_one_patient_are_joined_with_the_repeats_of_each():
    repeats = np.array([0, 1, 0, 3, 4, 5])
    given = [("p=1",), ("p=1",), (), ("p=2", "v=9"), ("v=9",), ()]
    groups = join_given(repeats, given)
    assert groups[0] == groups[1] == groups[2]
    assert groups[3] == groups[4]
    assert len(set(groups)) == 3


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sets(st.sampled_from("abcdef"), max_size=2)), min_size=1
    )
)
def test_groups_are_what_hangs_together(images):
    repeats = np.array([number for number, _ in images])
    first = {number: place for place, number in reversed(list(enumerate(repeats)))}
    repeats = np.array([first[number] for number in repeats])
    names = [tuple(sorted(some)) for _, some in images]
    groups = join_given(repeats, names)
    reachable = (repeats[:, None] == repeats) | np.array(
        [[bool(set(one) & set(other)) for other in names] for one in names]
    )
    for middle in range(len(images)):
        reachable |= reachable[:, [middle]] & reachable[middle]
    assert np.array_equal(groups[:, None] == groups, reachable)


def test_the_name_of_a_group_stays_when_copies_or_scans_are_added():
    before = name_groups(np.array([0, 1]), np.array([b"b", b"c"]), [(), ("p=7",)])
    originals = np.array([b"b", b"c", b"b", b"a"])
    after = name_groups(np.array([0, 1, 0, 1]), originals, [(), ("p=7",), (), ("p=7",)])
    assert before.tolist() == after[:2].tolist()
    assert after[0] == after[2] == b"b"
    assert after[1] == after[3] != "c"


LABELS, PICTURES = ["cat", "cat", "dog", "emu", "cat", "dog"], ["x", "x", "x", "y", "z", "z"]


@pytest.mark.parametrize(
    ("policy", "labels", "done"),
    [
        ("keep", LABELS, ["kept"] * 3 + [""] + ["kept"] * 2),
        ("reject", LABELS, ["rejected"] * 3 + [""] + ["rejected"] * 2),
        (
            "majority",
            ["cat", "cat", "cat", "emu", "cat", "dog"],
            ["kept", "kept", "relabelled", "", "rejected", "rejected"],
        ),
    ],
)
def test_the_same_picture_under_two_labels(policy, labels, done):
    settled = settle_conflicts(LABELS, PICTURES, policy)
    assert settled.labels.tolist() == labels
    assert settled.done.tolist() == done
    assert settled.rejected.tolist() == [one == "rejected" for one in done]


def test_the_same_picture_twice_under_one_label_is_no_conflict():
    settled = settle_conflicts(["cat", "cat"], ["x", "x"], "reject")
    assert not settled.rejected.any() and settled.done.tolist() == ["", ""]
