"""The rules of every test run: where kernel tests may run, and that they leave the machine as it was."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from functools import cache

import pytest
from hypothesis import HealthCheck, settings

from synguard import capabilities
from tests.support.lab.lab import Lab
from tests.support.lab.namespaces import lab_namespaces, sweep_stale, why_unavailable
from tests.support.lab.snapshot import differences, machine_snapshot
from tests.support.lab.topology import Victim

MakeLab = Callable[..., Lab]

REQUIRED = os.environ.get("SYNGUARD_KERNEL_TESTS") == "required" or bool(os.environ.get("CI"))
"""Whether this run counts: then a skipped test is a failed one."""

_lab_trouble = cache(why_unavailable)

settings.register_profile(  # a busy machine is no fault
    "here", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("here")

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes would each compile the package anew


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Kernel tests have a second try: what fails twice has failed; what needed it is named in the summary (``R``)."""
    for item in items:
        once = any(item.get_closest_marker(name) for name in ("bench", "soak", "adversary"))
        if item.get_closest_marker("kernel") and not once:
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip kernel tests where there is no kernel to test with."""
    if item.get_closest_marker("kernel") and (trouble := _lab_trouble()):
        pytest.skip(f"kernel tests cannot run here: {trouble}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.CallInfo[None], None]:
    """Turn a skip into a failure where the run counts."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]  # pluggy's Result, untyped here
    if REQUIRED and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure in this run: {report.longrepr}"


@pytest.fixture(scope="session", autouse=True)
def _machine_stays_as_it_was(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the run if the machine's own firewall or sysctls changed, or a namespace of ours is left."""
    if not any(item.get_closest_marker("kernel") for item in request.session.items) or _lab_trouble():
        yield
        return
    sweep_stale()
    before = machine_snapshot()
    yield
    changed = differences(before, machine_snapshot())
    left = lab_namespaces(f"sgl-{os.getpid()}-")
    assert not changed, f"the tests changed the machine itself: {changed}"
    assert not left, f"the tests left namespaces behind: {left}"


@pytest.fixture(scope="session", autouse=True)
def _these_tests_keep_their_capabilities() -> None:
    """A verb called in this process must not take from it what later tests need; agents under test do give up."""
    capabilities.give_up_all_but = lambda kept: None


@pytest.fixture
def make_lab() -> Iterator[MakeLab]:
    """Builds labs: ``make_lab(Victim(syncookies=0), client_firewall=True)``; all are gone after the test."""
    with ExitStack() as stack:
        yield lambda victim=None, client_firewall=False: stack.enter_context(Lab(victim, client_firewall))


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    """A lab whose victim has what a new host has: cookies on, nginx with its usual backlog, not yet serving."""
    return make_lab(Victim())
