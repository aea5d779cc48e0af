"""A wait ends at once for a signal, also while something else is waited for."""

from __future__ import annotations

import os
import signal
import threading
import time

from synguard.clock import SystemClock


def test_a_wait_ends_for_an_interrupt_that_came_before_and_only_once() -> None:
    clock = SystemClock()
    clock.interrupt()
    clock.interrupt()
    assert clock.wait(60.0)
    assert not clock.wait(0.0)


def test_a_signal_ends_a_wait_for_a_descriptor_that_stays_silent() -> None:
    """SIGTERM waited for the next tick where a challenge program is: two minutes after a start with 100,000 bans."""
    clock, (reads, writes) = SystemClock(), os.pipe()
    before = signal.signal(signal.SIGUSR1, lambda *_: clock.interrupt())
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    began = time.monotonic()
    try:
        assert clock.wait(60.0, reads)
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
    assert time.monotonic() - began < 30
    os.write(writes, b"!")
    assert clock.wait(60.0, reads)
    os.close(reads)
    os.close(writes)
