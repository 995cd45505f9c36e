"""What tests that export a network need while torch traces it."""

from collections.abc import Iterator
from contextlib import contextmanager

import jaxtyping


@contextmanager
def unchecked_types() -> Iterator[None]:
    """Sizes are symbols meanwhile, which a type checker at run time takes for no ints."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
