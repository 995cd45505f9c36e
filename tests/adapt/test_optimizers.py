"""What learns how fast."""

from adapt.networks.image_generator import Reconstructor, Translator
from adapt.optimizers import LEVELS, image_optimizer


def test_a_translator_s_levels_learn_faster_than_its_convolutions() -> None:
    F, M = Translator(4, 1), Reconstructor(3, 4, 1)
    slow, fast = image_optimizer([F, M], 1e-3, decay="linear").param_groups
    assert {id(p) for p in fast["params"]} == {id(p) for p in F.levels.parameters()}
    assert len(slow["params"]) + len(fast["params"]) == len([*F.parameters(), *M.parameters()])
    assert (slow["lr"], fast["lr"]) == (1e-3, LEVELS * 1e-3)
    assert {slow["decay"], fast["decay"]} == {"linear"}
    assert len(image_optimizer([M], 1e-3, decay="linear").param_groups) == 1
