"""What tests with a real firewall share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.firewall_net import FirewallNet


@pytest.fixture(scope="module")
def net() -> Iterator[FirewallNet]:
    """Hosts around a firewall, for all tests of a module."""
    hosts = FirewallNet()
    yield hosts
    hosts.close()
