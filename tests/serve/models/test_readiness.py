"""Ready or not, and never again once it stops."""

import pytest

from serve.limits import Refusal
from serve.models.readiness import Readiness


def test_a_check_that_ends_after_the_stop_changes_nothing():
    readiness, told = Readiness(30), []
    readiness.on_change.append(lambda: told.append(readiness.unready))
    readiness.stop()
    readiness.unready = None
    with pytest.raises(Refusal, match="the server stops"):
        readiness.require()
    assert told == ["the server stops"]
