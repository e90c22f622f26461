import torch

from crispseg.train.averaging import moving_average


def test_the_average_follows_the_formula_and_is_quick_at_first():
    average, decay = moving_average(0.99), 0.99
    kept, values, expected = [torch.tensor([1.0, -2.0])], torch.tensor([[3.0, 0.0], [5.0, 1.0], [0.0, 0.0]]), None
    expected = kept[0].double().clone()
    for updates, value in zip((0, 5, 5000), values, strict=True):
        average(kept, [value], torch.tensor(updates))
        now = min(decay, (1 + updates) / (10 + updates))
        expected = now * expected + (1 - now) * value.double()
        torch.testing.assert_close(kept[0].double(), expected, rtol=1e-6, atol=1e-6)


def test_values_that_never_change_stay_as_they_are_to_the_last_bit():
    constants = torch.tensor([0.485, 0.456, 0.406, 0.229, 1e-7, 12345.678])
    kept = [constants.clone(), torch.tensor(7)]
    average = moving_average(0.999)
    for updates in range(2000):
        average(kept, [constants, torch.tensor(updates)], updates)
    assert torch.equal(kept[0], constants)
    assert kept[1] == 1999
