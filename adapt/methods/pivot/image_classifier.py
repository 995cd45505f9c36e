"""Image-level category information (section 4.2): from an image's features to its class shares.

Multinomial logistic regression on frozen features, with soft labels: the shares of the classes in
the source's labels. One layer, SGD whose rate falls exponentially to a hundredth of 1e-4, as 0.99
an epoch does in 458 epochs.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.utils.data import Dataset

from adapt import bounds
from adapt.data.drawing.batches import NOTHING, Batch
from adapt.data.drawing.draws import shuffled
from adapt.game import Game, Losses


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """The authors' rates; steps and batch have no published value."""

    classifier_steps: int = 5000
    classifier_batch: int = 32
    classifier_lr: float = 1e-4

    def __post_init__(self) -> None:
        bounds.at_least(1, self, "classifier_steps", "classifier_batch")
        bounds.above_zero(self, "classifier_lr")


class ImageClassifier:
    """P says of an image's features how much of it is of each class."""

    def __init__(self, channels: int, classes: int, lr: float) -> None:
        self.P = linear(channels, classes)
        groups = [{"params": list(self.P.parameters()), "decay": "to_a_hundredth"}]
        self.game = Game(P=SGD(groups, lr=lr, momentum=0.9))
        self.state = {"P": self.P, **self.game.state()}

    def step(self, batch: Batch) -> Losses:
        return self.game.play(P=cross_entropy(self.P(batch.x_s).float(), batch.v_s))


def linear(channels: int, classes: int) -> nn.Linear:
    """P at its start, which is nowhere: the loss is convex."""
    layer = nn.Linear(channels, classes)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


@dataclass(frozen=True, eq=False)
class FeatureDraws(Dataset[Batch]):
    """Draw k of the stage: an image's features as x_s, its shares as v_s; each once an epoch."""

    features: Float[Tensor, "n k"]
    shares: Float[Tensor, "n c"]
    seed: int

    @classmethod
    def of(cls, features: Tensor, shares: Tensor, seed: int) -> FeatureDraws:
        """Of the images that have a labelled pixel."""
        known = shares.sum(1) > 0
        return cls(features[known], shares[known], seed)

    def __getitem__(self, k: int) -> Batch:
        i = shuffled(len(self.features), self.seed, k)
        return Batch(NOTHING, NOTHING, NOTHING, NOTHING)._replace(
            x_s=self.features[i], v_s=self.shares[i]
        )
