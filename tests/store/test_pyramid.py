"""What a sample of a coarser level means: against ITK and GDAL, then against its own definition."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.io import MemoryFile

import image_phantoms as phantoms
from specimg.formats.base import Rescale
from specimg.geometry.affine import Affine
from specimg.store.pyramid import Level, Method, plan, sums


def _reduced(
    block: npt.NDArray[Any], steps: tuple[int, int, int], *, method: Method = "mean", nodata: float | None = None
) -> npt.NDArray[Any]:
    return sums(block, steps, method=method, nodata=nodata).samples(block.dtype, nodata)


# --- values ---------------------------------------------------------------------------------------------------------


def test_means_and_positions_are_those_of_itk() -> None:
    voxels = np.random.default_rng(3).normal(40, 200, (12, 20, 28)).astype(np.float32)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((0.7, 0.8, 1.5))
    image.SetOrigin((-100.0, -50.0, 30.0))
    expected = sitk.BinShrink(image, [4, 2, 2])

    np.testing.assert_allclose(_reduced(voxels, (2, 2, 4)), sitk.GetArrayFromImage(expected), rtol=1e-5, atol=1e-3)
    affine = Affine.from_steps(z=(0, 0, 1.5), y=(0, 0.8, 0), x=(0.7, 0, 0), origin=(-100, -50, 30)).downsampled(
        (2, 2, 4)
    )
    np.testing.assert_allclose(affine.matrix[:3, 3], expected.GetOrigin())
    np.testing.assert_allclose(affine.spacing[::-1], expected.GetSpacing())


def test_amplitudes_keep_their_power_as_gdal_does() -> None:
    amplitude = np.random.default_rng(4).rayleigh(90, (1, 64, 96)).astype(np.float32)
    amplitude[0, 10:20, 30:40] = 0  # not measured
    profile = {"driver": "GTiff", "count": 1, "height": 64, "width": 96, "dtype": "float32", "nodata": 0}
    profile["transform"] = rasterio.Affine(10, 0, 500_000, 0, -10, 5_400_000)
    with MemoryFile() as file:
        with file.open(**profile) as dataset:
            dataset.write(amplitude)
        with file.open() as dataset:
            expected = dataset.read(out_shape=(1, 16, 24), resampling=Resampling.rms)

    found = _reduced(amplitude, (1, 4, 4), method="power", nodata=0)

    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(("pair", "mean"), [((0, 1), 0), ((1, 2), 2), ((2, 3), 2), ((-1, 0), 0), ((-2, -1), -2)])
def test_halves_are_rounded_to_even(pair: tuple[int, int], mean: int) -> None:
    assert _reduced(np.array([[pair]], np.int16), (1, 1, 2)).item() == mean


@pytest.mark.parametrize(
    ("dtype", "extreme"),
    [("uint8", 255), ("int16", -32768), ("uint16", 65535), ("int64", 2**63 - 1), ("uint64", 2**64 - 1)],
)
@pytest.mark.parametrize("method", ["mean", "power"])
def test_extremes_do_not_overflow(dtype: str, extreme: int, method: Method) -> None:
    block = np.full((4, 6, 8), extreme, dtype)
    found = _reduced(block, (2, 2, 2), method=method)
    wanted = abs(extreme) if method == "power" else extreme
    if method == "power" and wanted > np.iinfo(dtype).max:
        wanted = np.iinfo(dtype).max
    np.testing.assert_allclose(found.astype(np.float64), float(wanted), rtol=1e-12)


def test_samples_that_were_not_measured_do_not_count() -> None:
    row = np.array([[[10.0, np.nan, -9999.0, 30.0, np.nan, -9999.0]]], np.float32)
    assert _reduced(row, (1, 1, 2), nodata=-9999).ravel().tolist() == [10, 30, -9999]


def test_a_block_without_measurement_is_nan_where_no_value_is_reserved() -> None:
    row = np.array([[[np.nan, np.nan, 1.0, np.nan]]], np.float32)
    np.testing.assert_array_equal(_reduced(row, (1, 1, 2)).ravel(), [np.nan, 1])


def test_complex_samples_keep_power_and_the_phase_of_their_mean() -> None:
    block = np.array([[[3 + 4j, 3 + 4j, 2, 2j]]], np.complex64)
    found = _reduced(block, (1, 1, 2), method="power").ravel()
    np.testing.assert_allclose(np.abs(found), [5, 2], rtol=1e-6)
    np.testing.assert_allclose(np.angle(found), [np.angle(3 + 4j), np.pi / 4], rtol=1e-6)


_shapes = st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9))


@given(
    shape=_shapes,
    exponents=st.tuples(*[st.integers(0, 2)] * 3),
    method=st.sampled_from(["mean", "power"]),
    seed=st.integers(0, 99),
)
def test_every_level_is_made_of_level_zero(
    shape: tuple[int, int, int], exponents: tuple[int, int, int], method: Method, seed: int
) -> None:
    block = np.random.default_rng(seed).integers(0, 6, shape).astype(np.int16)  # 0 is nodata
    first = tuple(2 ** min(e, 1) for e in exponents)
    rest = tuple(2 ** max(e - 1, 0) for e in exponents)
    in_two = sums(block, (first[0], first[1], first[2]), method=method, nodata=0).coarser((rest[0], rest[1], rest[2]))

    factors = tuple(2**e for e in exponents)
    expected = np.zeros([-(-n // f) for n, f in zip(shape, factors, strict=True)], np.int16)
    for index in product(*map(range, expected.shape)):
        part = block[tuple(slice(i * f, (i + 1) * f) for i, f in zip(index, factors, strict=True))].astype(float)
        part = part[part != 0]
        if part.size:
            expected[index] = np.rint(part.mean() if method == "mean" else np.sqrt((part**2).mean()))
    np.testing.assert_array_equal(in_two.samples(block.dtype, 0), expected)


# --- shapes ---------------------------------------------------------------------------------------------------------


def _plan(shape: tuple[int, ...], spacing: float = 1.0, dtype: str = "int16", **changes: Any) -> tuple[Level, ...]:
    affine = Affine.from_steps(z=(0, 0, spacing), y=(0, 0.7, 0), x=(0.7, 0, 0), origin=(0, 0, 0))
    empty = np.broadcast_to(np.zeros((), dtype), shape)
    return plan(phantoms.volume(empty, affine=affine, **changes).series)


def test_a_ct_has_cubes_in_shards_down_to_a_few_chunks() -> None:
    levels = _plan((400, 512, 512), spacing=0.8)
    assert [level.path for level in levels] == ["0", "1", "2"]
    assert [level.factors for level in levels] == [(1, 1, 1), (2, 2, 2), (4, 4, 4)]
    assert levels[0].chunks == (64, 64, 64)
    assert levels[0].shards == (128, 128, 128)
    assert levels[-1].shape == (100, 128, 128)


def test_thick_slices_are_not_averaged_before_they_are_cubes() -> None:
    assert [level.factors[0] for level in _plan((400, 512, 512), spacing=2.5)] == [1, 1, 1, 2]


def test_planes_with_a_rescale_of_their_own_are_never_mixed() -> None:
    pet = Rescale(tuple(np.linspace(1, 2, 400)), (0.0,))
    assert {level.factors[0] for level in _plan((400, 512, 512), rescale=pet)} == {1}


def test_small_images_get_small_shards() -> None:
    (only,) = _plan((20, 100, 60))
    assert (only.chunks, only.shards) == ((20, 64, 60), (20, 128, 60))
    (thin, *_) = _plan((1, 512, 512))
    assert (thin.chunks, thin.shards) == ((1, 256, 256), (1, 512, 512))


def test_large_planes_get_flat_shards_so_that_a_slab_fits_into_memory() -> None:
    assert _plan((400, 2048, 2048))[0].shards == (64, 128, 128)


def test_a_radar_scene_has_wide_tiles_and_a_level_per_group() -> None:
    scene = np.broadcast_to(np.zeros((), np.uint16), (2, 16705, 26102))
    levels = plan(phantoms.raster(scene).series)
    assert levels[0].chunks == (1, 512, 512)
    assert levels[0].shards == (1, 4096, 4096)
    assert levels[-1].shape == (2, 131, 204)
    assert [level.path for level in levels] == [f"{k}/image" for k in range(8)]


@given(
    shape=st.tuples(st.integers(1, 700), st.integers(1, 3000), st.integers(1, 3000)),
    spacing=st.floats(0.05, 20),
    dtype=st.sampled_from(["uint8", "int16", "float32", "float64"]),
)
def test_plans_hold_together(shape: tuple[int, int, int], spacing: float, dtype: str) -> None:
    levels = _plan(shape, spacing, dtype)
    for level in levels:
        assert level.shape == tuple(-(-n // f) for n, f in zip(shape, level.factors, strict=True))
        for size, chunk, shard in zip(level.shape, level.chunks, level.shards, strict=True):
            assert 1 <= chunk <= size
            assert shard % chunk == 0
            assert shard < size + chunk
        assert Level.from_json(level.to_json()) == level
    for finer, coarser in pairwise(levels):
        assert all(c in (f, 2 * f) for f, c in zip(finer.factors, coarser.factors, strict=True))
    for factor, chunk, shard, size in zip(levels[-1].factors, levels[0].chunks, levels[0].shards, shape, strict=True):
        assert chunk % factor == 0 or shard % factor == 0 or shard >= size
    assert levels[0].chunks[0] % levels[-1].factors[0] == 0 or levels[0].chunks[0] == shape[0]
