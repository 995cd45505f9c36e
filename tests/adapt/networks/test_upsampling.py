import pytest
import torch

from adapt.networks.upsampling import full_size, labels_at


def street_logits(n: int, c: int, h: int, w: int, seed: int) -> torch.Tensor:
    """Smooth regions with borders, as a network gives."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n, c, max(h // 3, 1), max(w // 3, 1), generator=generator)
    return torch.nn.functional.interpolate(3 * coarse, size=(h, w), mode="bicubic")


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(64, 128), (61, 97), (9, 17), (8, 16), (5, 7), (1, 1)])
def test_labels_equal_the_dense_route(size: tuple[int, int], align_corners: bool) -> None:
    for seed in range(5):
        logits = street_logits(2, 7, 8, 16, seed)
        dense = full_size(logits, size, align_corners)
        labels = labels_at(logits, size, align_corners)
        assert labels.shape == (2, *size)
        assert labels.dtype == torch.uint8
        chosen = dense.gather(1, labels.long()[:, None])[:, 0]
        # A pixel may only differ where the two best values are equal up to float rounding.
        assert (dense.max(1).values - chosen).max() < 1e-5
        assert (labels == dense.argmax(1)).float().mean() > 0.999


def test_ties_go_to_the_lower_class() -> None:
    logits = torch.ones(1, 3, 4, 4)
    assert int(labels_at(logits, (8, 8), False).max()) == 0


def test_a_class_at_one_logit_only_is_found_between_its_neighbours() -> None:
    logits = torch.zeros(1, 2, 4, 4)
    logits[0, 1, 1, 2] = 5
    labels = labels_at(logits, (32, 32), False)
    assert torch.equal(labels.long(), full_size(logits, (32, 32), False).argmax(1))
    assert int(labels.sum()) > 64
