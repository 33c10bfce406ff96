"""Moved images against plain loops, hand-made shifts and turns, and matrices."""

import math

import numpy as np
import pytest

from pellucid.train.augmentation import Augmentation, uniform_numbers

SEED, EPOCH = 3, 5


def numbers(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.int64)


def changed(amounts: Augmentation, images: np.ndarray) -> np.ndarray:
    return amounts(images, numbers(len(images)), seed=SEED, epoch=EPOCH)


def draw(count: int, place: int) -> np.ndarray:
    return uniform_numbers(SEED, EPOCH, numbers(count), range(place, place + 1))[0]


def random_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


@pytest.fixture
def highest_draws(monkeypatch: pytest.MonkeyPatch):
    """Every draw at its upper end: every change by all of its amount."""
    monkeypatch.setattr(
        "pellucid.train.augmentation.draws.uniform_numbers",
        lambda _seed, _epoch, own, places: np.ones((len(places), len(own))),
    )


def test_shift_moves_the_image_by_the_drawn_amount_and_fills_with_background():
    images = np.zeros((200, 9, 9, 1), np.float32)
    images[:, 4, 4] = 1
    moved = changed(Augmentation(shift=2), images)
    down, right = (2 * (2 * draw(200, place) - 1) for place in (0, 1))
    rows, columns = np.mgrid[:9, :9]
    np.testing.assert_allclose((moved[..., 0] * rows).sum((1, 2)), 4 + down, rtol=0, atol=1e-5)
    np.testing.assert_allclose((moved[..., 0] * columns).sum((1, 2)), 4 + right, rtol=0, atol=1e-5)
    np.testing.assert_allclose(moved.sum((1, 2, 3)), 1, rtol=0, atol=1e-5)
    filled = changed(Augmentation(shift=2), np.ones_like(images))
    assert filled.min(axis=(1, 2, 3)).min() < 0.2  # a shift of more than a pixel shows what stands outside
    np.testing.assert_array_equal(filled[:, 4, 4], 1)


@pytest.mark.usefixtures("highest_draws")
def test_a_turn_by_half_a_circle_is_a_flip_of_both_axes():
    image = random_images(1, 5, 6, 3)
    np.testing.assert_allclose(changed(Augmentation(rotation=180), image), image[:, ::-1, ::-1], rtol=0, atol=1e-6)


@pytest.mark.usefixtures("highest_draws")
def test_a_quarter_turn_is_numpys_rot90():
    image = random_images(1, 5, 5, 1)
    turned = changed(Augmentation(rotation=90), image)
    np.testing.assert_allclose(turned, np.rot90(image, -1, axes=(1, 2)), rtol=0, atol=1e-6)


@pytest.mark.usefixtures("highest_draws")
def test_a_shear_by_one_moves_each_row_by_its_distance_from_the_middle():
    image = np.zeros((1, 5, 5, 1), np.float32)
    image[0, :, 2] = 1  # an upright line through the middle
    np.testing.assert_allclose(changed(Augmentation(shear=1), image)[0, ..., 0], np.eye(5), rtol=0, atol=1e-6)


def test_a_distortion_moves_no_cell_by_more_than_its_amount():
    columns = np.arange(20, dtype=np.float32) / 32
    ramp = np.broadcast_to(columns[None, None, :, None], (50, 20, 20, 1))  # reads as its column
    moved = changed(Augmentation(distortion=1.5), ramp)[:, 2:-2, 2:-2, 0] * 32
    distance = moved - np.arange(2, 18)  # background may show in the two rows and columns at each side
    assert np.abs(distance).max() <= 1.5 + 1e-5
    assert np.abs(distance).max() > 1.2
    assert np.abs(np.diff(distance, axis=1)).max() < 1  # smooth: neighbours move alike
    assert distance.std(axis=(1, 2)).min() > 0.1  # and no image moves as a whole


@pytest.mark.usefixtures("highest_draws")
def test_a_distortion_drawn_alike_everywhere_is_a_shift():
    image = random_images(1, 8, 7, 1)
    moved = changed(Augmentation(distortion=2), image)
    np.testing.assert_allclose(moved[:, :-2, :-2], image[:, 2:, 2:], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(moved[:, -2:], 0)


@pytest.mark.usefixtures("highest_draws")
def test_a_distortion_is_in_pixels_of_what_is_seen():
    # In a window of a resized crop a distortion by 2 pixels moves by 2 pixels of the window, fewer of the image.
    rows, columns = np.mgrid[:21, :31].astype(np.float32)
    image = np.stack((rows, columns), axis=-1)[None]
    cut, moved = (changed(Augmentation(resized_crop=0.75, distortion=d, edge=True), image) for d in (0, 2))
    np.testing.assert_allclose(moved[:, :-2, :-2], cut[:, 2:, 2:], rtol=0, atol=1e-4)
    assert 0.4 < cut[0, 1, 0, 0] - cut[0, 0, 0, 0] < 0.6


@pytest.mark.parametrize("shape", [(60, 1, 1, 1), (60, 5, 8, 1), (60, 6, 3, 3)])
@pytest.mark.parametrize(("crop", "edge"), [(0, False), (1, False), (4, False), (4, True)])
def test_flips_and_whole_crops_copy_cells(shape: tuple[int, ...], crop: int, edge: bool):
    images = random_images(*shape)
    count, height, width, _ = shape
    moved = changed(Augmentation(crop=crop, flip=True, flip_vertical=True, edge=edge), images)
    down, right = (np.floor(draw(count, place) * (2 * crop + 1)).astype(int) - crop for place in (37, 38))
    assert (down.min(), down.max()) == (right.min(), right.max()) == (-crop, crop)
    mirrored, over = draw(count, 39) < 0.5, draw(count, 40) < 0.5
    for n in range(count):
        for i in range(height):
            for j in range(width):
                y = (height - 1 - i if over[n] else i) + down[n]
                x = (width - 1 - j if mirrored[n] else j) + right[n]
                if edge:
                    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
                inside = 0 <= y < height and 0 <= x < width
                assert np.array_equal(moved[n, i, j], images[n, y, x] if inside else np.zeros_like(moved[n, i, j]))


def test_half_of_the_images_are_flipped_and_one_axis_does_not_tell_of_the_other():
    images = np.broadcast_to(np.array([[1, 2], [3, 4]], np.float32)[None, :, :, None] / 4, (4000, 2, 2, 1))
    corners = changed(Augmentation(flip=True, flip_vertical=True), images)[:, 0, 0, 0] * 4
    np.testing.assert_allclose(np.bincount(corners.astype(int), minlength=5)[1:], 1000, atol=5 * math.sqrt(750))
    np.testing.assert_array_equal(np.unique(changed(Augmentation(flip=True), images)[:, 0, 0, 0] * 4), [1, 2])
    np.testing.assert_array_equal(np.unique(changed(Augmentation(flip_vertical=True), images)[:, 0, 0, 0] * 4), [1, 3])


def test_copied_cells_are_those_that_would_be_read_between_cells():
    images = random_images(50, 7, 6, 2)
    whole = Augmentation(crop=2, flip=True, flip_vertical=True, edge=True)
    between = Augmentation(crop=2, flip=True, flip_vertical=True, edge=True, shift=1e-9)
    np.testing.assert_allclose(changed(between, images), changed(whole, images), rtol=0, atol=1e-5)


def test_a_resized_crop_reads_a_window_of_a_drawn_area():
    height, width, count = 9, 13, 300
    rows, columns = np.mgrid[:height, :width].astype(np.float32) / 16
    images = np.broadcast_to(np.stack((rows, columns), axis=-1), (count, height, width, 2))
    cut = changed(Augmentation(resized_crop=0.6), images).astype(np.float64) * 16
    share_y = (cut[:, -1, 0, 0] - cut[:, 0, 0, 0]) / (height - 1)
    share_x = (cut[:, 0, -1, 1] - cut[:, 0, 0, 1]) / (width - 1)
    area, ratio = share_y * share_x, share_y / share_x
    np.testing.assert_allclose(area, 1 - 0.6 * draw(count, 41), rtol=1e-5)
    assert 0.75 - 1e-5 < ratio.min() < 0.77
    assert 1.30 < ratio.max() < 4 / 3 + 1e-5
    assert cut[..., 0].min() >= 0
    assert cut[..., 0].max() <= height - 1 + 1e-5
    # Windows lie anywhere: the room that is left above is a uniform share of all the room.
    np.testing.assert_allclose(cut[:, 0, 0, 0], draw(count, 43) * (1 - share_y) * (height - 1), atol=1e-4)
    np.testing.assert_allclose(cut[:, 0, 0, 1], draw(count, 44) * (1 - share_x) * (width - 1), atol=1e-4)
    white = np.ones((40, 5, 5, 1), np.float32)
    np.testing.assert_allclose(changed(Augmentation(resized_crop=0.9), white), white, atol=1e-6)


def matrix(rows: list[list[float]]) -> np.ndarray:
    return np.array([*rows, [0, 0, 1]], np.float64)


def forward_map(amounts: Augmentation, n: int, height: int, width: int) -> np.ndarray:
    """Where a cell (y, x, 1) of image n goes: one plain matrix for each change, in the order of the docstring."""

    def signed(place: int) -> float:
        return 2 * float(draw(n + 1, place)[n]) - 1

    middle = matrix([[1, 0, (height - 1) / 2], [0, 1, (width - 1) / 2]])
    area = 1 - amounts.resized_crop * float(draw(n + 1, 41)[n])
    ratio = min(max((4 / 3) ** signed(42), area), 1 / area)
    share_y, share_x = (area * ratio) ** 0.5, (area / ratio) ** 0.5
    top = float(draw(n + 1, 43)[n]) * (1 - share_y) * (height - 1)
    left = float(draw(n + 1, 44)[n]) * (1 - share_x) * (width - 1)
    window = matrix([[1 / share_y, 0, -top / share_y], [0, 1 / share_x, -left / share_x]])
    lean = matrix([[1, 0, 0], [amounts.shear * signed(4), 1, 0]])
    grow = 1 + amounts.scale * signed(3)
    angle = math.radians(amounts.rotation * signed(2))
    turn = matrix([[math.cos(angle), math.sin(angle), 0], [-math.sin(angle), math.cos(angle), 0]])
    shift = matrix([[1, 0, amounts.shift * signed(0)], [0, 1, amounts.shift * signed(1)]])
    down, right = (math.floor(draw(n + 1, place)[n] * (2 * amounts.crop + 1)) - amounts.crop for place in (37, 38))
    crop = matrix([[1, 0, -down], [0, 1, -right]])
    mirror = -1 if amounts.flip and draw(n + 1, 39)[n] < 0.5 else 1
    over = -1 if amounts.flip_vertical and draw(n + 1, 40)[n] < 0.5 else 1
    flip = middle @ np.diag([over, mirror, 1]) @ np.linalg.inv(middle)
    return flip @ crop @ shift @ middle @ turn @ np.diag([grow, grow, 1]) @ lean @ np.linalg.inv(middle) @ window


def read_between(image: np.ndarray, y: float, x: float, edge: bool) -> np.ndarray:
    """The image at a real position, from its four neighbours."""
    height, width, _ = image.shape
    if edge:
        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    value = np.zeros(image.shape[2])
    for i in (math.floor(y), math.floor(y) + 1):
        for j in (math.floor(x), math.floor(x) + 1):
            if 0 <= i < height and 0 <= j < width:
                value += (1 - abs(y - i)) * (1 - abs(x - j)) * image[i, j]
    return value


@pytest.mark.parametrize("edge", [False, True])
@pytest.mark.parametrize(
    "amounts",
    [
        {"resized_crop": 0.8},
        {"shear": 0.5, "rotation": 40, "scale": 0.4},
        {"rotation": 90, "shift": 2.5, "crop": 2, "flip": True},
        {
            "resized_crop": 0.5,
            "shear": 0.3,
            "scale": 0.3,
            "rotation": 30,
            "shift": 1.5,
            "crop": 1,
            "flip_vertical": True,
        },
    ],
)
def test_all_changes_are_one_reading_through_the_product_of_their_maps(amounts: dict, edge: bool):
    change, images = Augmentation(**amounts, edge=edge), random_images(6, 6, 7, 2)
    moved = changed(change, images)
    for n, image in enumerate(images):
        back = np.linalg.inv(forward_map(change, n, 6, 7))
        for i in range(6):
            for j in range(7):
                y, x, _ = back @ [i, j, 1]
                np.testing.assert_allclose(moved[n, i, j], read_between(image, y, x, edge), rtol=0, atol=3e-5)


def test_with_edge_nothing_from_outside_comes_in():
    everything = Augmentation(
        resized_crop=0.5, distortion=3, shear=1, scale=0.5, rotation=180, shift=4, crop=3, flip=True, edge=True
    )
    np.testing.assert_allclose(changed(everything, np.ones((30, 6, 5, 1), np.float32)), 1, rtol=0, atol=1e-6)


def test_pixels_far_outside_are_no_overflow_and_no_memory():
    images = random_images(200, 4, 5, 1)
    np.testing.assert_array_equal(changed(Augmentation(shift=100_000), images[:5]), 0)
    np.testing.assert_array_equal(changed(Augmentation(crop=100_000), images[:5]), 0)
    moved = changed(Augmentation(crop=100_000, edge=True), images)
    corners = {image[y, x].tobytes() for image in images for y in (0, 3) for x in (0, 4)}
    assert all(image[0, 0].tobytes() in corners and np.ptp(image) == 0 for image in moved)
