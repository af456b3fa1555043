"""A picture to bytes: PNG, JPEG, WebP, or raw samples."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image as Pillow

from specimg.errors import InvalidInput

PictureFormat = Literal["png", "jpeg", "webp", "raw"]

FORMATS: tuple[str, ...] = get_args(PictureFormat)
MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "raw": "application/octet-stream"}

_JPEG_QUALITY = 90
_WEBP_QUALITY = 80
_Z_RLE = 3


@dataclass(frozen=True, slots=True)
class Encoded:
    """Bytes and what they are."""

    data: bytes
    media_type: str


def encode(picture: npt.NDArray[np.uint8], format: PictureFormat) -> Encoded:
    """Encode (rows, columns) grey, (rows, columns, 3) RGB or (rows, columns, 4) RGBA. JPEG drops alpha onto black."""
    pixels = np.ascontiguousarray(picture)
    if format == "jpeg":
        return Encoded(_jpeg(pixels), MEDIA_TYPES["jpeg"])
    if format not in ("png", "webp"):
        raise InvalidInput(f"a picture is {', '.join(f for f in FORMATS if f != 'raw')}", field="format")
    out = io.BytesIO()
    image = Pillow.fromarray(_lean(pixels))
    if format == "png":
        # Level 1 with run lengths only (zlib's Z_RLE, made for filtered picture rows): on speckle two thirds of the time of
        # the default strategy, and no more bytes.
        image.save(out, "PNG", compress_level=1, compress_type=_Z_RLE)
    else:
        image.save(out, "WEBP", quality=_WEBP_QUALITY, method=0)
    return Encoded(out.getvalue(), MEDIA_TYPES[format])


def _lean(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The same picture without channels that say nothing: encoding is the hot path of a tile, and costs by the byte."""
    if pixels.ndim == 2:
        return pixels
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    is_grey = np.array_equal(red, green) and np.array_equal(green, blue)
    is_opaque = pixels.shape[2] == 3 or bool((pixels[..., 3] == 255).all())
    if is_grey:
        return np.ascontiguousarray(red if is_opaque else pixels[..., [0, 3]])
    return np.ascontiguousarray(pixels[..., :3]) if is_opaque else pixels


def raw(samples: npt.NDArray[Any]) -> Encoded:
    """The samples themselves, C order, little-endian."""
    return Encoded(samples.astype(samples.dtype.newbyteorder("<"), order="C", copy=False).tobytes(), MEDIA_TYPES["raw"])


def _jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        alpha = pixels[..., 3:].astype(np.uint16)
        pixels = np.ascontiguousarray((pixels[..., :3] * alpha // 255).astype(np.uint8))
    if pixels.ndim == 2:
        return bytes(simplejpeg.encode_jpeg(pixels[..., None], _JPEG_QUALITY, "GRAY"))
    return bytes(simplejpeg.encode_jpeg(pixels, _JPEG_QUALITY, "RGB"))
