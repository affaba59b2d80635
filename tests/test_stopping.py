"""Signals that ask a run to stop, and errors that mean that another process has gone."""

from signal import SIGINT, SIGTERM, default_int_handler, getsignal, raise_signal, signal

import pytest

from whichland.training import process
from whichland.training.process import first_to_say, partners_watched, stop_signal


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_a_signal_sent_twice_at_once_is_one_and_a_later_one_acts(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    # so that SIGTERM raises as well, and SIGINT also where the shell has switched it off
    monkeypatch.setattr(process, "getsignal", lambda _: default_int_handler)
    before = getsignal(number)
    with pytest.raises(KeyboardInterrupt), stop_signal() as stopped:  # noqa: PT012
        assert not stopped()
        raise_signal(number)
        raise_signal(number)  # torchrun passes on what the terminal has sent
        assert stopped()
        now[0] = 3.0
        raise_signal(number)
    signal(number, before)


def test_without_a_job_errors_stay_what_they_are_and_there_is_one_to_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="gloo"), partners_watched():
        raise RuntimeError("gloo: Connection closed by peer")
    assert first_to_say()
    monkeypatch.setenv("RANK", "1")  # torchrun's, before the processes have met
    assert not first_to_say()
