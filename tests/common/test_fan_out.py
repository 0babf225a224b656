import os
import signal
from pathlib import Path

import pytest

from stages.common.errors import InputError
from stages.common.fan_out import fan_out


def process_of(number: int) -> tuple[int, int]:
    return number, os.getpid()


def die_once(number: int, folder: Path) -> int:
    """A call that kills its process the first time that one of them is made."""
    try:
        (folder / "died").mkdir()
        os.kill(os.getpid(), signal.SIGKILL)
    except FileExistsError:
        pass
    return number


def die(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(number: int) -> None:
    raise InputError(f"expected no {number}")


@pytest.mark.parametrize("workers", [1, 2])
def test_each_call_is_made_once_and_in_other_processes(monkeypatch, workers: int):
    monkeypatch.setenv("DARKROOM_WORKERS", str(workers))
    found = list(fan_out(process_of, [(number,) for number in range(6)]))
    assert sorted(number for number, _ in found) == list(range(6))
    processes = {process for _, process in found}
    assert os.getpid() not in processes
    assert len(processes) <= workers


@pytest.mark.parametrize("workers", [1, 2])
def test_others_do_what_a_killed_process_had_not_finished(
    monkeypatch, tmp_path, capsys, workers: int
):
    monkeypatch.setenv("DARKROOM_WORKERS", str(workers))
    found = list(fan_out(die_once, [(number, tmp_path) for number in range(8)]))
    assert sorted(found) == list(range(8))
    assert "a worker was lost" in capsys.readouterr().out


def test_work_that_always_kills_its_process_is_one_line(monkeypatch):
    monkeypatch.setenv("DARKROOM_WORKERS", "2")
    with pytest.raises(
        InputError, match=r"3 tasks are left, and 5 times in a row workers were lost"
    ):
        list(fan_out(die, [(number,) for number in range(3)]))


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_refused_in_a_process_is_refused_here(monkeypatch, workers: int):
    monkeypatch.setenv("DARKROOM_WORKERS", str(workers))
    with pytest.raises(InputError, match="expected no 1"):
        list(fan_out(refuse, [(1,), (1,)]))
