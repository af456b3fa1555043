"""Affine: array index to world.

Inside specimg there is one convention. An index is ``(z, y, x)``, slowest axis first, and integer indices are the
*centres* of samples. World is ``(X, Y, Z)``: LPS millimetres for a patient, CRS units for a map. RAS, ``(i, j, k)``
and pixel-corner conventions exist only in ``formats`` and ``store.ngff``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from specimg.errors import InvalidInput

_RIGHT_ANGLE = 1e-4
"""Largest cosine between two axes that still counts as a right angle (DICOM writes direction cosines to ~6 digits)."""


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """A 4 x 4 matrix that maps ``(z, y, x, 1)`` to ``(X, Y, Z, 1)``.

    Columns 0, 1 and 2 are the world step of one sample along z, y and x; column 3 is the centre of sample (0, 0, 0).
    Raises ``InvalidInput`` if a value is not finite or the matrix is singular.
    """

    matrix: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise InvalidInput("an affine is a 4 x 4 matrix of finite numbers", field="affine")
        steps = np.linalg.norm(matrix[:3, :3], axis=0)
        if not (steps > 0).all() or abs(np.linalg.det(matrix[:3, :3] / np.where(steps > 0, steps, 1))) < 1e-6:
            raise InvalidInput("the affine is singular: two axes coincide or a spacing is zero", field="affine")
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Affine) and bool(np.array_equal(self.matrix, other.matrix))

    def __hash__(self) -> int:
        return hash(self.matrix.tobytes())

    @classmethod
    def identity(cls) -> Affine:
        """Index (z, y, x) to world (x, y, z): unit spacing, axes as a radar or pixel plane has them."""
        return cls.from_steps(z=(0, 0, 1), y=(0, 1, 0), x=(1, 0, 0), origin=(0, 0, 0))

    @classmethod
    def from_steps(
        cls,
        *,
        z: npt.ArrayLike,
        y: npt.ArrayLike,
        x: npt.ArrayLike,
        origin: npt.ArrayLike,
    ) -> Affine:
        """From the world step of one sample along each array axis and the centre of the first sample."""
        matrix = np.eye(4)
        for column, step in enumerate((z, y, x, origin)):
            matrix[:3, column] = np.asarray(step, dtype=np.float64)
        return cls(matrix)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """World length of one sample along (z, y, x)."""
        z, y, x = np.linalg.norm(self.matrix[:3, :3], axis=0)
        return float(z), float(y), float(x)

    @property
    def directions(self) -> npt.NDArray[np.float64]:
        """3 x 3; columns are unit world vectors of z, y and x."""
        return np.asarray(self.matrix[:3, :3] / np.linalg.norm(self.matrix[:3, :3], axis=0))

    @property
    def is_orthogonal(self) -> bool:
        """False for a gantry tilt or a sheared matrix, which must be kept and never silently squared."""
        gram = self.directions.T @ self.directions
        return bool(np.abs(gram - np.diag(np.diag(gram))).max() < _RIGHT_ANGLE)

    @property
    def is_right_handed(self) -> bool:
        """Whether (x, y, z) of the array turn the way world (X, Y, Z) do."""
        return bool(np.linalg.det(self.matrix[:3, [2, 1, 0]]) > 0)

    def axis_codes(self) -> tuple[str, str, str]:
        """Anatomical direction towards which (z, y, x) grow, for an LPS world: one of L R P A S I each."""
        positive, negative = "LPS", "RAI"
        codes: list[str] = []
        free = {0, 1, 2}
        magnitude = np.abs(self.directions)
        order = np.argsort(-magnitude.max(axis=0))
        chosen: dict[int, str] = {}
        for axis in order:
            world = max(free, key=lambda w: magnitude[w, axis])
            free.discard(world)
            chosen[int(axis)] = (positive if self.directions[world, axis] > 0 else negative)[world]
        codes = [chosen[axis] for axis in range(3)]
        return codes[0], codes[1], codes[2]

    def to_world(self, index: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """World of indices, shape (..., 3) in (z, y, x) order, to (..., 3) in (X, Y, Z) order."""
        points = np.asarray(index, dtype=np.float64)
        return np.asarray(points @ self.matrix[:3, :3].T + self.matrix[:3, 3])

    def to_index(self, world: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Inverse of ``to_world``; fractional indices."""
        points = np.asarray(world, dtype=np.float64) - self.matrix[:3, 3]
        return np.asarray(np.linalg.solve(self.matrix[:3, :3], points.reshape(-1, 3).T).T.reshape(points.shape))

    def shifted(self, start: npt.ArrayLike) -> Affine:
        """The affine of a crop that begins at index ``start`` (z, y, x)."""
        matrix = self.matrix.copy()
        matrix[:3, 3] = self.to_world(start)
        return Affine(matrix)

    def downsampled(self, factors: tuple[int, int, int]) -> Affine:
        """The affine after averaging blocks of ``factors`` samples: centres move by half a block less half a sample."""
        matrix = self.matrix.copy()
        matrix[:3, 3] = self.to_world([(f - 1) / 2 for f in factors])
        matrix[:3, :3] = matrix[:3, :3] * np.asarray(factors, dtype=np.float64)
        return Affine(matrix)

    def to_json(self) -> list[list[float]]:
        """Rows of the matrix."""
        return [[float(v) for v in row] for row in self.matrix]

    @classmethod
    def from_json(cls, rows: Any) -> Affine:
        """From rows; raises ``InvalidInput``."""
        try:
            return cls(np.array(rows, dtype=np.float64))
        except (TypeError, ValueError) as error:
            raise InvalidInput("an affine is a 4 x 4 matrix of finite numbers", field="affine") from error
