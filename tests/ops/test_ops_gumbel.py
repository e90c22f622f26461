import numpy as np
import pytest
import torch
from torch.nn import functional

from crispseg.ops.gumbel import straight_through_argmax


@pytest.mark.parametrize("classes", [2, 150])
def test_the_value_is_exactly_the_one_hot_arg_max(classes):
    logits = torch.randn(2, classes, 5, 4, requires_grad=True)
    one_hot = straight_through_argmax(logits)
    expected = functional.one_hot(logits.argmax(1), classes).permute(0, 3, 1, 2).float()
    assert torch.equal(one_hot, expected)
    assert torch.equal(straight_through_argmax(logits.detach()), expected)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_gradient_is_that_of_the_gumbel_softmax(temperature):
    """Equation 9, written out with the same noise."""
    logits = torch.randn(1, 4, 2, 3, requires_grad=True)
    upstream = torch.randn(1, 4, 2, 3)
    straight_through_argmax(logits, temperature, torch.Generator().manual_seed(3)).backward(upstream)

    noise = -torch.empty(1, 4, 2, 3).exponential_(generator=torch.Generator().manual_seed(3)).log()
    reference = logits.detach().requires_grad_()
    log_probability = reference.log_softmax(1)
    terms = ((log_probability + noise) / temperature).exp()
    (terms / terms.sum(1, keepdim=True)).backward(upstream)
    assert logits.grad is not None
    assert reference.grad is not None
    torch.testing.assert_close(logits.grad, reference.grad)


def test_the_noise_is_gumbel_and_drawn_for_each_pixel():
    """The slope of a class's own surrogate is E[p (1 − p)] under Gumbel noise; compared with NumPy's Gumbel draws."""
    probability = torch.tensor([0.1, 0.2, 0.7])
    logits = probability.log().view(1, 3, 1, 1).expand(1, 3, 100, 200).clone().requires_grad_()
    upstream = torch.zeros_like(logits)
    upstream[:, 0] = 1
    straight_through_argmax(logits, 1.0, torch.Generator().manual_seed(0)).backward(upstream)
    assert logits.grad is not None
    noise = np.random.default_rng(0).gumbel(size=(3, 200_000))
    draws = np.exp(probability.log().numpy()[:, None] + noise)
    draws = draws[0] / draws.sum(0)
    assert logits.grad[0, 0].mean().item() == pytest.approx((draws * (1 - draws)).mean(), rel=0.05)
    assert logits.grad[0, 0].unique().numel() > 10_000


def test_bfloat16_logits_and_bad_temperatures():
    logits = torch.randn(1, 3, 4, 4).bfloat16().requires_grad_()
    one_hot = straight_through_argmax(logits)
    assert one_hot.dtype == torch.float32
    (one_hot * torch.randn(1, 3, 4, 4)).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="temperature is 0"):
        straight_through_argmax(logits, 0)
