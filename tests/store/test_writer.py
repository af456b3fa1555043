"""Writing an image: the same values, the same digest, bounded memory, one rename."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import image_phantoms as phantoms
from specimg.digest import canonical
from specimg.errors import StoreError, UnreadableFile
from specimg.formats.base import Rescale, Window
from specimg.store.image import verify
from specimg.store.writer import manifest, publish, write

_DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]


def _whole(image: Any, **choice: int) -> npt.NDArray[Any]:
    return np.asarray(image.read_box((0, 0, 0), image.grid.shape, **choice))


# --- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [*_DTYPES, "complex64", "complex128"])
def test_level_zero_holds_the_stored_values(tmp_path: Path, dtype: str) -> None:
    voxels = phantoms.asymmetric((70, 90, 140), dtype)
    found = _whole(phantoms.stored(phantoms.volume(voxels), tmp_path))
    np.testing.assert_array_equal(found, voxels)
    assert found.dtype == voxels.dtype


def test_times_and_channels_stay_apart(tmp_path: Path) -> None:
    voxels = phantoms.asymmetric((2, 3, 20, 70, 150))
    image = phantoms.stored(phantoms.volume(voxels, axes=("t", "c", "z", "y", "x")), tmp_path)
    for t in range(2):
        for c in range(3):
            np.testing.assert_array_equal(_whole(image, t=t, c=c), voxels[t, c])
            np.testing.assert_array_equal(
                image.read_box((0, 0, 0), (20, 35, 75), level=1, t=t, c=c)[:, 0, 0],
                np.rint(voxels[t, c, :, :2, :2].mean(axis=(1, 2))),
            )


def test_missing_values_survive_and_shape_the_levels(tmp_path: Path) -> None:
    scene = phantoms.asymmetric((1, 600, 700), "float32")
    scene[0, :300, :] = np.nan
    scene[0, 300:, :2] = -9999
    image = phantoms.stored(phantoms.raster(scene, unit="1", nodata=-9999.0), tmp_path)
    np.testing.assert_array_equal(_whole(image), scene)
    coarse = image.read_box((0, 0, 0), (1, 300, 350), level=1)[0]
    assert (coarse[:150] == -9999).all()
    assert (coarse[150:, 0] == -9999).all()
    np.testing.assert_allclose(
        coarse[150:, 1:], scene[0, 300:, 2:].reshape(150, 2, 349, 2).mean(axis=(1, 3)), rtol=1e-6
    )


def test_a_landmark_lies_in_the_same_place_on_every_level(tmp_path: Path) -> None:
    voxels = np.zeros((96, 160, 300), np.float32)
    voxels[40:56, 32:64, 192:224] = 100  # whole blocks of every level, off every centre
    image = phantoms.stored(phantoms.volume(voxels, affine=phantoms.OBLIQUE), tmp_path)
    expected = phantoms.OBLIQUE.to_world((47.5, 47.5, 207.5))
    assert len(image.levels) > 1
    for number, level in enumerate(image.levels):
        values = image.read_box((0, 0, 0), image.shape(number), level=number)
        centre = np.argwhere(values > 50).mean(axis=0)
        found = image.grid.downsampled(level.factors).affine.to_world(centre)
        np.testing.assert_allclose(found, expected, atol=1e-9)


# --- one source, one digest ------------------------------------------------------------------------------------------


def test_the_digest_is_of_the_values_and_not_of_how_they_were_cut(tmp_path: Path) -> None:
    voxels = phantoms.asymmetric((150, 200, 300))
    digests = set()
    for number, block_bytes in enumerate((2**27, 2**23, 1)):
        opened = phantoms.volume(voxels)
        digests.add(phantoms.stored(opened, tmp_path / str(number), block_bytes=block_bytes).digest)
        assert opened.read_bytes == voxels.nbytes, "every sample is read once"
    assert len(digests) == 1
    voxels[-1, -1, -1] += 1
    assert phantoms.stored(phantoms.volume(voxels), tmp_path / "other").digest not in digests


def test_a_raster_cut_into_rows_of_chunks_is_the_same_raster(tmp_path: Path) -> None:
    scene = phantoms.asymmetric((2, 2600, 1300), "uint16")
    digests = set()
    for number, block_bytes in enumerate((2**27, 2**22, 1)):
        opened = phantoms.raster(scene, nodata=0.0)
        digests.add(phantoms.stored(opened, tmp_path / str(number), block_bytes=block_bytes).digest)
        assert opened.read_bytes == scene.nbytes
    assert len(digests) == 1


def test_the_digest_covers_the_description(tmp_path: Path) -> None:
    voxels = phantoms.asymmetric((10, 20, 30))
    windows = phantoms.volume(voxels).series.channels[0].windows
    assert windows == ()
    first = phantoms.stored(phantoms.volume(voxels), tmp_path / "a")
    moved = phantoms.stored(phantoms.volume(voxels, affine=phantoms.OBLIQUE), tmp_path / "b")
    assert first.digest != moved.digest


def test_the_digest_can_be_had_with_sha256_and_rfc8785_alone(tmp_path: Path) -> None:
    image = phantoms.stored(phantoms.raster(phantoms.asymmetric((2, 60, 50), "uint16")), tmp_path)
    rows: list[list[str | int]] = []
    for folder, _, names in os.walk(image.root):
        for name in names:
            data = Path(folder, name).read_bytes()
            rows.append([os.path.relpath(Path(folder, name), image.root), len(data), hashlib.sha256(data).hexdigest()])
    rows.sort(key=lambda row: str(row[0]))
    assert image.digest == "sha256:" + hashlib.sha256(canonical(rows)).hexdigest()
    assert image.id == image.digest[7:39]


def test_names_of_source_files_are_not_in_the_image(tmp_path: Path) -> None:
    opened = phantoms.volume(
        phantoms.asymmetric((3, 4, 5)), files=("Erika_Mustermann.dcm",), source={"PatientName": "Mustermann"}
    )
    image = phantoms.stored(opened, tmp_path)
    assert not [path for path in image.root.rglob("*") if path.is_file() and b"Mustermann" in path.read_bytes()]


def test_windows_are_in_stored_values(tmp_path: Path) -> None:
    # Soft tissue 40/400 of CT values that are stored with an offset of 1024.
    opened = phantoms.volume(phantoms.asymmetric((4, 8, 8), "uint16"))
    channel = opened.series.channels[0]
    opened.series = replace(
        opened.series,
        channels=(replace(channel, windows=(Window("soft tissue", 40, 400),)),),
        rescale=Rescale((1.0,), (-1024.0,)),
    )
    image = phantoms.stored(opened, tmp_path)
    attributes = json.loads((image.root / "zarr.json").read_text())["attributes"]
    window = attributes["ome"]["omero"]["channels"][0]["window"]
    assert (window["start"], window["end"]) == (40 - 200 + 1024, 40 + 200 + 1024)
    assert (window["min"], window["max"]) == (opened.array.min(), opened.array.max())


# --- publishing -----------------------------------------------------------------------------------------------------


def test_the_same_image_is_kept_once(tmp_path: Path) -> None:
    voxels = phantoms.asymmetric((10, 20, 30))
    first = phantoms.stored(phantoms.volume(voxels), tmp_path)
    inode = (first.root / "zarr.json").stat().st_ino
    (tmp_path / "again").mkdir()
    staged = write(phantoms.volume(voxels), tmp_path / "again")
    assert publish(staged, tmp_path) == first.root
    assert (first.root / "zarr.json").stat().st_ino == inode
    assert len(list((tmp_path / "images").iterdir())) == 1


def test_published_files_are_read_only_and_ours_alone(tmp_path: Path) -> None:
    image = phantoms.stored(phantoms.volume(phantoms.asymmetric((10, 20, 30))), tmp_path)
    modes = {path.stat().st_mode & 0o777 for path in image.root.rglob("*") if path.is_file()}
    assert modes == {0o400}
    assert image.root.stat().st_mode & 0o077 == 0


def test_one_flipped_bit_is_found(tmp_path: Path) -> None:
    image = phantoms.stored(phantoms.volume(phantoms.asymmetric((80, 90, 100))), tmp_path)
    assert verify(image)
    shard = image.root / "0" / "c" / "0" / "0" / "0"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.chmod(0o600)
    shard.write_bytes(data)
    assert not verify(image)


def test_a_link_in_an_image_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "zarr.json").symlink_to("/etc/passwd")
    with pytest.raises(StoreError, match="link"):
        manifest(tmp_path / "image")


# --- bad readers and large series ------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [np.zeros((2, 4, 5), np.int16), np.zeros((3, 4, 5), np.int32)])
def test_a_reader_that_breaks_its_promise_is_refused(tmp_path: Path, answer: npt.NDArray[Any]) -> None:
    class Liar(phantoms.ArraySeries):
        def read(self, start: Sequence[int], stop: Sequence[int]) -> npt.NDArray[Any]:
            return answer

    opened = phantoms.volume(np.zeros((3, 4, 5), np.int16))
    with pytest.raises(UnreadableFile, match="announced"):
        write(Liar(opened.series, opened.array), tmp_path)


_LARGE = textwrap.dedent(
    """
    import resource, sys
    from pathlib import Path
    import numpy as np
    import image_phantoms as phantoms
    from specimg.store.writer import write

    kind, folder, room = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])

    class Generated:
        def __init__(self, series):
            self.series = series

        def read(self, start, stop):
            axes = [np.arange(a, b, dtype=np.uint16) for a, b in zip(start, stop)]
            return (axes[0][:, None, None] * 3 + axes[1][:, None] * 5) ^ axes[2]

    # Once over everything, so that libraries and threads are there when the limit is set.
    (folder / "first").mkdir()
    tiny = np.zeros((40, 130, 130), np.uint16) if kind == "volume" else np.zeros((1, 600, 600), np.uint16)
    write(getattr(phantoms, kind)(tiny), folder / "first")
    shape = (640, 1024, 512) if kind == "volume" else (1, 16384, 20480)
    opened = Generated(getattr(phantoms, kind)(np.broadcast_to(np.zeros((), np.uint16), shape)).series)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + room,) * 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write(opened, folder, block_bytes=2**24)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of the address space are tested on Linux")
@pytest.mark.parametrize(("kind", "size"), [("volume", 640 * 1024 * 512 * 2), ("raster", 16384 * 20480 * 2)])
def test_a_series_larger_than_memory_is_written(tmp_path: Path, kind: str, size: int) -> None:
    room = 400 * 2**20
    assert size > 1.5 * room
    environment = {**os.environ, "PYTHONPATH": str(Path(phantoms.__file__).parent), "MALLOC_ARENA_MAX": "2"}
    done = subprocess.run(
        [sys.executable, "-c", _LARGE, kind, str(tmp_path), str(room)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) * 1024 < room


def test_the_limit_in_that_test_bites() -> None:
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (2**29,) * 2); bytearray(2**30)"
    assert resource.RLIMIT_AS is not None
    assert b"MemoryError" in subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).stderr
