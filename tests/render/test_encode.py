"""Pictures are read back by Pillow, raw samples by NumPy."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as Pillow

from specimg.render.encode import encode, raw


@pytest.fixture
def grey() -> npt.NDArray[np.uint8]:
    rows, columns = np.mgrid[0:40, 0:60]
    return np.asarray(rows * 4 + columns, np.uint8)


def read(data: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(Pillow.open(io.BytesIO(data)))


def test_png_is_lossless_in_grey_rgb_and_rgba(grey: npt.NDArray[np.uint8]) -> None:
    for picture in (grey, np.dstack([grey, grey[::-1], grey]), np.dstack([grey, grey[::-1], grey, 255 - grey])):
        encoded = encode(picture, "png")
        assert encoded.media_type == "image/png"
        assert np.array_equal(read(encoded.data), picture)


def test_jpeg_and_webp_are_close(grey: npt.NDArray[np.uint8]) -> None:
    for format, tolerance in (("jpeg", 6), ("webp", 12)):
        decoded = read(encode(grey, format).data)  # type: ignore[arg-type]  # a loop over the literal's values
        flat = decoded if decoded.ndim == 2 else decoded[..., 0]
        assert flat.shape == grey.shape
        assert np.abs(flat.astype(int) - grey).max() <= tolerance


def test_jpeg_puts_clear_pixels_on_black(grey: npt.NDArray[np.uint8]) -> None:
    clear = np.dstack([np.full_like(grey, 200)] * 3 + [np.zeros_like(grey)])
    assert read(encode(clear, "jpeg").data).max() <= 2


def test_webp_keeps_alpha() -> None:
    picture = np.zeros((16, 16, 4), np.uint8)
    picture[:8] = (255, 0, 0, 255)
    decoded = read(encode(picture, "webp").data)
    assert decoded[0, 0, 3] == 255
    assert decoded[15, 15, 3] == 0


def test_a_view_that_is_not_contiguous_encodes_the_same(grey: npt.NDArray[np.uint8]) -> None:
    assert encode(grey[::-1, ::-1], "png").data == encode(grey[::-1, ::-1].copy(), "png").data
    assert encode(grey.T, "jpeg").data == encode(grey.T.copy(), "jpeg").data


def test_raw_is_little_endian_and_in_c_order() -> None:
    samples = np.array([[1, 2, 3], [-4, 5, 6]], ">i2")
    encoded = raw(samples.T)
    assert np.frombuffer(encoded.data, "<i2").reshape(3, 2).tolist() == [[1, -4], [2, 5], [3, 6]]


@pytest.mark.parametrize(
    ("shape", "mode"),
    [((7, 9, 4), "RGBA"), ((7, 9, 3), "RGB"), ((7, 9), "L")],
)
def test_a_png_keeps_every_sample_with_or_without_idle_channels(shape: tuple[int, ...], mode: str) -> None:
    random = np.random.default_rng(1)
    colour = random.integers(0, 255, shape, dtype=np.uint8)
    grey = np.repeat(colour[..., :1], shape[-1], axis=2) if len(shape) == 3 else colour
    opaque = colour.copy()
    if shape[-1] == 4:
        grey = np.dstack([grey[..., :3], colour[..., 3]])
        opaque[..., 3] = 255
    for picture in (colour, grey, opaque):
        read = Pillow.open(io.BytesIO(encode(picture, "png").data)).convert(mode)
        np.testing.assert_array_equal(np.asarray(read), picture)
