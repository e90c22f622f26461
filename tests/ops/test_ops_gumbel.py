import numpy as np
import pytest
import torch

from crispseg.ops.gumbel import gumbel_softmax


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_probabilities_and_their_gradient_follow_equation_9(temperature):
    """Written out with the same noise, from the logarithm of the probability."""
    logits = torch.randn(1, 4, 2, 3, requires_grad=True)
    upstream = torch.randn(1, 4, 2, 3)
    probability = gumbel_softmax(logits, temperature, torch.Generator().manual_seed(3))
    probability.backward(upstream)

    noise = -(-torch.rand(1, 4, 2, 3, generator=torch.Generator().manual_seed(3)).log()).log()
    reference = logits.detach().requires_grad_()
    terms = ((reference.log_softmax(1) + noise) / temperature).exp()
    expected = terms / terms.sum(1, keepdim=True)
    expected.backward(upstream)
    torch.testing.assert_close(probability, expected)
    assert logits.grad is not None
    assert reference.grad is not None
    torch.testing.assert_close(logits.grad, reference.grad)


def test_the_noise_is_gumbel_and_drawn_for_each_pixel():
    """The mean slope of a class's own probability is E[p (1 − p)]; compared with NumPy's Gumbel draws."""
    probability = torch.tensor([0.1, 0.2, 0.7])
    logits = probability.log().view(1, 3, 1, 1).expand(1, 3, 100, 200)
    ours = gumbel_softmax(logits, 1.0, torch.Generator().manual_seed(0))[0, 0]
    noise = np.random.default_rng(0).gumbel(size=(3, 200_000))
    draws = np.exp(probability.log().numpy()[:, None] + noise)
    draws = draws[0] / draws.sum(0)
    assert ours.mean().item() == pytest.approx(draws.mean(), rel=0.05)
    assert (ours * (1 - ours)).mean().item() == pytest.approx((draws * (1 - draws)).mean(), rel=0.05)
    assert ours.unique().numel() > 10_000


def test_bfloat16_logits_and_bad_temperatures():
    logits = torch.randn(1, 3, 4, 4).bfloat16().requires_grad_()
    probability = gumbel_softmax(logits)
    assert probability.dtype == torch.float32
    (probability * torch.randn(1, 3, 4, 4)).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="temperature is 0"):
        gumbel_softmax(logits, 0)
