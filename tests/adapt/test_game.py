import torch
from torch import nn
from torch.optim import SGD

from adapt.game import Game


def test_every_player_moves_by_its_own_loss_only() -> None:
    torch.manual_seed(0)
    g, d = nn.Linear(3, 3), nn.Linear(3, 1)
    x = torch.randn(5, 3)

    def losses() -> tuple[torch.Tensor, torch.Tensor]:
        said = d(g(x))
        return said.square().mean(), (said - 1).square().mean() + g(x).abs().mean()

    loss_d, loss_g = losses()
    by_hand_d = torch.autograd.grad(loss_d, list(d.parameters()), retain_graph=True)
    by_hand_g = torch.autograd.grad(loss_g, list(g.parameters()))
    before = [p.clone() for p in (*d.parameters(), *g.parameters())]
    game = Game(G=SGD(g.parameters(), 0.5), D=SGD(d.parameters(), 0.1))
    loss_d, loss_g = losses()
    said = game.play(D=loss_d, G=loss_g)
    rates = [0.1, 0.1, 0.5, 0.5]
    after = [*d.parameters(), *g.parameters()]
    for p, q, grad, lr in zip(after, before, (*by_hand_d, *by_hand_g), rates, strict=True):
        torch.testing.assert_close(p.detach(), q - lr * grad)
        assert p.grad is None
    assert not said["G"].requires_grad
    assert set(said) == {"D", "G"}
