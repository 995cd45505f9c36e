"""--mix of the methods with pseudo labels: what they learn from is the mixed batch, and no more."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny_batch import tiny_batch, tiny_run

from adapt.data.drawing.class_mix import class_mixed
from adapt.methods.intra_domain import intra_domain
from adapt.methods.ldr import config as ldr
from adapt.methods.ldr import joint
from adapt.methods.symmetric import config, symmetric
from roadshift import UserError

METHODS: dict[str, tuple[Callable[[bool], Any], str]] = {
    "symmetric": (
        lambda mix: symmetric.Symmetric(symmetric.Config(width_d=8, mix=mix), tiny_run(), 4),
        "A",
    ),
    "intra_domain": (
        lambda mix: intra_domain.IntraDomain(
            intra_domain.Config(width_d=8, mix=mix), tiny_run(), 4, kld=False
        ),
        "G",
    ),
    "ldr": (lambda mix: joint.Joint(joint.Config(width=4, blocks=1, mix=mix), tiny_run(), 4), "G"),
    "ldr, no reconstruction": (
        lambda mix: joint.Segmentation(joint.Config(width=4, blocks=1, mix=mix), tiny_run(), 4),
        "G",
    ),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_step_with_mix_is_a_step_of_the_mixed_batch(name: str) -> None:
    make, loss = METHODS[name]
    batch = tiny_batch()._replace(y_t=torch.full_like(tiny_batch().y_t, 3))
    found = list[float]()
    for mix, mixed_before in ((True, False), (False, True), (False, False)):
        torch.manual_seed(0)
        method = make(mix)
        torch.manual_seed(1)
        found.append(float(method.step(class_mixed(batch) if mixed_before else batch)[loss]))
    assert found[0] == pytest.approx(found[1])
    assert found[0] != pytest.approx(found[2])


@pytest.mark.parametrize("settings", [ldr.Config, config.Config])
def test_mix_without_a_round_that_has_labels_is_refused(settings: Callable[..., Any]) -> None:
    assert settings(mix=True).rounds == 2
    with pytest.raises(UserError, match="the first round has none"):
        settings(mix=True, rounds=1)
