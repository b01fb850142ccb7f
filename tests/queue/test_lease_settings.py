"""The settings of leases."""

import pytest

from jdq.worker.config import ConfigError, read_config


def test_a_lease_lasts_at_least_three_heartbeats() -> None:
    settings = {"JDQ_HOME": "/nonexistent", "JDQ_HEARTBEAT_S": "2"}
    assert read_config(settings | {"JDQ_LEASE_S": "6"}).lease_s == 6
    with pytest.raises(ConfigError, match=r"JDQ_LEASE_S=5\.9 is less than three times JDQ_HEARTBEAT_S=2"):
        read_config(settings | {"JDQ_LEASE_S": "5.9"})
