"""tile-sar: a 512 tile of a 16-bit amplitude raster in dB, as PNG, against rio-tiler rendering the same pixels.

Both read one file on local disk with a warm page cache. Ours goes through HTTP, rio-tiler runs in process and is not asked
to warp, so the comparison favours it. CPU time is the figure to trust on a shared machine; wall time is given beside it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import from_origin
from rio_tiler.io import Reader

from benchmarks.result import Result, percentile
from benchmarks.subject import Server, ingest, server, timed

SIZE = 8192
TILES = 150


def run() -> Iterator[Result]:
    """CPU and wall time per tile at full resolution."""
    with TemporaryDirectory() as folder:
        path = _scene(Path(folder) / "scene.tif")
        home = Path(folder) / "home"
        ingest(home, path)
        with server(home) as running:
            ours_cpu, ours_wall = _ours(running)
        peer_cpu, peer_wall = _peer(path)
    name = "rio-tiler, in process, unwarped"
    p95, theirs = percentile(ours_wall, 95), percentile(peer_wall, 95)
    yield Result(
        "tile-sar", "CPU per tile", ours_cpu, peer_cpu, name, "ms", ">= 5 times less CPU", peer_cpu / ours_cpu >= 5
    )
    yield Result("tile-sar", "p95 per tile, over HTTP", p95, theirs, name, "ms", "p95 <= 15 ms", p95 <= 15)


def _scene(path: Path) -> Path:
    """Four-look speckle over a smooth field, darker on one side, tiled and with overviews as a COG has them."""
    noise = np.random.default_rng(11)
    profile = {
        "driver": "GTiff", "dtype": "uint16", "count": 1, "width": SIZE, "height": SIZE, "crs": "EPSG:32633",
        "transform": from_origin(500000, 5000000, 10, 10), "tiled": True, "blockxsize": 512, "blockysize": 512,
        "compress": "deflate", "predictor": 2, "nodata": 0,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as scene:
        for row in range(0, SIZE, 512):
            field = 0.02 + 0.2 * (np.arange(SIZE) > SIZE / 2) * (1 + np.sin(np.arange(SIZE) / 300))
            power = field * noise.gamma(4, 0.25, (512, SIZE))
            block = np.clip(np.rint(np.sqrt(power) * 474), 1, 65535).astype(np.uint16)
            scene.write(block, 1, window=rasterio.windows.Window(0, row, SIZE, 512))
        scene.build_overviews([2, 4, 8, 16], rasterio.enums.Resampling.average)
    return path


def _ours(running: Server) -> tuple[float, list[float]]:
    (image,) = running.images()
    url = f"/api/images/{image['id']}/tiles/0/{{}}/{{}}?bands=0&quantity=amplitude_db&low=20&high=60&format=png"
    return _measure(
        lambda row, column: running.client.get(url.format(row, column)).raise_for_status().content, running.cpu_seconds
    )


def _peer(path: Path) -> tuple[float, list[float]]:
    def tile(row: int, column: int) -> bytes:
        window = rasterio.windows.Window(512 * column, 512 * row, 512, 512)
        with Reader(str(path)) as scene:
            bounds = rasterio.windows.bounds(window, scene.dataset.transform)
            image = scene.part(bounds, bounds_crs=scene.crs, dst_crs=scene.crs, expression="20*log10(b1)")
            image.rescale(in_range=((20, 60),))
            return bytes(image.render(img_format="PNG"))

    return _measure(tile, time.process_time)


def _measure(tile: Callable[[int, int], Any], cpu: Callable[[], float]) -> tuple[float, list[float]]:
    order = random.Random(13)

    def draw() -> tuple[int, int]:
        return order.randrange(SIZE // 512), order.randrange(SIZE // 512)

    for _ in range(10):
        tile(*draw())
    before = cpu()
    wall = [timed(tile, *draw()) for _ in range(TILES)]
    return (cpu() - before) * 1000 / len(wall), wall
