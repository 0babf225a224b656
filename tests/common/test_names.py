import pytest

from stages.common.names import unknown_name

MODES = ["nearest", "constant", "reflect", "wrap"]


@pytest.mark.parametrize(
    ("received", "meant"),
    [("reflekt", "reflect"), ("WRAP", "wrap"), ("constnat", "constant"), ("Nearest", "nearest")],
)
def test_the_nearest_name_is_proposed(received, meant):
    assert unknown_name("fill mode", received, MODES) == (
        f"unknown fill mode {received!r}, did you mean {meant!r}? "
        "Expected one of: nearest, constant, reflect, wrap"
    )


def test_a_name_is_proposed_as_it_is_written():
    assert "did you mean 'VGG16'?" in unknown_name("network", "vgg16", ["VGG16", "Xception"])


@pytest.mark.parametrize("received", ["xyzzy", "", 5, None])
def test_nothing_is_proposed_for_a_name_unlike_all_others(received):
    message = unknown_name("fill mode", received, MODES)
    assert message == (
        f"unknown fill mode {received!r}. Expected one of: nearest, constant, reflect, wrap"
    )


def test_a_name_of_several_lines_is_refused_in_one():
    assert "\n" not in unknown_name("label", "a\nb", ["c"])
