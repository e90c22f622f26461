import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from crispseg.ops.gradients import _canny_by_tensors, canny_edges, gaussian_blur, sobel_magnitude, spatial_gradient

map_sizes = st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 12), st.integers(1, 12))


def random_maps(shape, seed):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=30)
@given(shape=map_sizes, seed=st.integers(0, 10**6))
def test_sobel_matches_scipy(shape, seed):
    images = random_maps(shape, seed)
    array = images.numpy().astype(np.float64)
    expected = np.zeros((shape[0], 1, *shape[2:]))
    for image, channel in np.ndindex(shape[:2]):
        x, y = (ndimage.sobel(array[image, channel], axis=axis, mode="nearest") for axis in (1, 0))
        expected[image, 0] = np.maximum(expected[image, 0], np.hypot(x, y) / np.sqrt(20))
    np.testing.assert_allclose(sobel_magnitude(images).numpy(), expected, atol=1e-5)


def test_sobel_reaches_one_and_not_more():
    # rows of the steepest pattern of 0 and 1 under the filter, found by trying all 512
    patterns = torch.tensor([[i >> bit & 1 for bit in range(9)] for i in range(512)]).float().view(512, 1, 3, 3)
    strengths = sobel_magnitude(patterns)[:, 0, 1, 1]
    assert strengths.max().item() == pytest.approx(1.0, abs=1e-6)
    assert sobel_magnitude(torch.full((1, 3, 5, 5), 0.3)).max() == 0


def test_sobel_has_a_finite_gradient_on_flat_images():
    images = torch.full((1, 3, 5, 5), 0.5, requires_grad=True)
    sobel_magnitude(images).sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()


@settings(deadline=None, max_examples=30)
@given(shape=map_sizes, seed=st.integers(0, 10**6), sigma=st.floats(0.3, 3), radius=st.integers(1, 7))
def test_blur_matches_scipy(shape, seed, sigma, radius):
    maps = random_maps(shape, seed)
    expected = ndimage.gaussian_filter(
        maps.numpy().astype(np.float64), (0, 0, sigma, sigma), mode="nearest", radius=(0, 0, radius, radius)
    )
    np.testing.assert_allclose(gaussian_blur(maps, sigma, 2 * radius + 1).numpy(), expected, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(shape=map_sizes, seed=st.integers(0, 10**6))
def test_spatial_gradient_matches_numpy(shape, seed):
    maps = random_maps(shape, seed)
    padded = np.pad(maps.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    gx, gy = spatial_gradient(maps)
    np.testing.assert_allclose(gx.numpy(), np.gradient(padded, axis=3)[:, :, 1:-1, 1:-1], atol=1e-6)
    np.testing.assert_allclose(gy.numpy(), np.gradient(padded, axis=2)[:, :, 1:-1, 1:-1], atol=1e-6)


def test_sobel_magnitude_has_a_gradient_of_zero_where_flat_and_takes_the_strongest_channel():
    images = torch.full((1, 2, 5, 6), 0.5)
    images[0, 1, :, 3:] = 0.9
    images.requires_grad_()
    sobel_magnitude(images)[0, 0, 2].sum().backward()
    assert images.grad.isfinite().all()
    assert not images.grad[0, 0].any()
    assert images.grad[0, 1].any()


def test_even_kernels_are_an_error():
    with pytest.raises(ValueError, match="kernel_size 4"):
        gaussian_blur(torch.zeros(1, 1, 4, 4), 1.0, 4)


def opencv_canny(image, low, high):
    return torch.from_numpy(cv2.Canny(image, low, high)) > 0


def to_batch(image):
    return torch.from_numpy(image).permute(2, 0, 1)[None]


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(st.integers(1, 48), st.integers(1, 48)),
    seed=st.integers(0, 10**6),
    sigma=st.sampled_from([0.0, 0.6, 1.5, 4.0]),
    thresholds=st.tuples(st.floats(0, 500), st.floats(0, 500)),
)
def test_canny_equals_opencv(size, seed, sigma, thresholds):
    image = np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)
    if sigma:
        image = cv2.normalize(cv2.GaussianBlur(image, (0, 0), sigma), None, 0, 255, cv2.NORM_MINMAX)
    low, high = sorted(thresholds)
    expected = opencv_canny(image, low, high)
    assert torch.equal(canny_edges(to_batch(image), low, high)[0, 0].bool(), expected)
    assert torch.equal(canny_edges(to_batch(image).float() / 255, low, high)[0, 0].bool(), expected)
    assert torch.equal(_canny_by_tensors(to_batch(image).float(), low, high)[0, 0].bool(), expected)


def test_canny_equals_opencv_on_a_photograph(real_camvid):
    paths = sorted((real_camvid / "val").glob("*.png"))[:2]
    assert len(paths) == 2
    for path in paths:
        image = cv2.imread(str(path))
        edges = _canny_by_tensors(to_batch(image).float(), 10, 100)
        assert torch.equal(edges[0, 0].bool(), opencv_canny(image, 10, 100))


def ramp_along_a_spiral(turns):
    """A long line whose edges are weak except towards its outer end."""
    size = 12 * turns
    angle = np.linspace(0, 2 * np.pi * turns, 4000)
    points = size / 2 + (angle * 0.8)[:, None] * np.stack((np.cos(angle), np.sin(angle)), axis=1)
    image = np.zeros((size, size, 3), np.uint8)
    for point, brightness in zip(
        points.round().astype(int), np.interp(np.arange(4000), (0, 3500, 4000), (110, 110, 255)), strict=True
    ):
        cv2.circle(image, point.tolist(), 1, [brightness] * 3, -1)
    return image


def test_canny_follows_a_long_edge_to_its_end_and_each_image_by_itself():
    image = ramp_along_a_spiral(6)
    expected = opencv_canny(image, 100, 1150)
    without_seed = np.minimum(image, 110)
    assert expected.sum() > 3 * opencv_canny(image, 1150, 1150).sum()  # most of it hangs on its outer end
    both = torch.cat((to_batch(without_seed), to_batch(image)))
    for edges in (canny_edges(both, 100, 1150), _canny_by_tensors(both.float(), 100, 1150)):
        assert not edges[0].any()
        assert torch.equal(edges[1, 0].bool(), expected)


@pytest.mark.slow
def test_canny_exports_with_the_same_result_at_every_size():
    class Canny(torch.nn.Module):
        def forward(self, images):
            return canny_edges(images, 100, 1150)

    torch.compiler.reset()  # what dynamo remembers of exports at one size would be a condition of this one
    sides = {axis: torch.export.Dim(f"side_{axis}", min=2) for axis in (2, 3)}
    program = torch.export.export(Canny(), (torch.rand(1, 3, 20, 28),), dynamic_shapes=(sides,)).module()
    image = ramp_along_a_spiral(4)
    for part in (image, image[:, :-7]):
        assert torch.equal(program(to_batch(part).float() / 255)[0, 0].bool(), opencv_canny(part, 100, 1150))


def test_canny_thresholds_in_the_wrong_order_are_an_error():
    with pytest.raises(ValueError, match="low threshold 100 exceeds high threshold 10"):
        canny_edges(torch.zeros(1, 3, 4, 4), 100, 10)
