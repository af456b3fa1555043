"""Every JSON shape of the API, in and out, with the names the viewer uses. Requests refuse fields nobody knows.

Numbers from outside are finite; a triple is (z, y, x).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Triple = tuple[int, int, int]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Point = tuple[Finite, Finite, Finite]
Label = Annotated[int, Field(ge=0, le=65_535)]
Version = Annotated[int, Field(ge=0, lt=2**53)]
Code = Annotated[tuple[str, str, str], Field(description="value, coding scheme, meaning")]


class Request(BaseModel):
    """A body from outside: an unknown field is a mistake, not decoration."""

    model_config = ConfigDict(extra="forbid", str_max_length=2**27, allow_inf_nan=False)


class Answer(BaseModel):
    """A body of ours."""


class Health(Answer):
    """That this process serves."""

    status: Literal["ok"]


class ProblemOut(Answer):
    """An error, as ``application/problem+json``. More fields depend on ``code``."""

    code: str
    title: str
    status: int
    detail: str


class ConflictOut(ProblemOut):
    """``version-conflict``: where the edit meets others made since its base."""

    base: int | None = None
    current: int | None = None
    boxes: list[BoxOut] | None = None
    shapes: list[str] | None = None
    voxels: int | None = None


# --- people ---------------------------------------------------------------------------------------------------------


class LoginIn(Request):
    """Name and password of a local account."""

    name: Annotated[str, Field(max_length=256)]
    password: Annotated[str, Field(max_length=4096)]


class ProjectOut(Answer):
    """A project and the asker's role in it."""

    id: str
    name: str
    role: Literal["viewer", "annotator", "reviewer", "admin"]


class MeOut(Answer):
    """The account that asks."""

    id: str
    name: str
    projects: list[ProjectOut]


class TokenIn(Request):
    """A new API token."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    days: Annotated[int, Field(ge=1, le=366, description="how long it is valid")] = 90


class TokenOut(Answer):
    """An API token without its secret."""

    id: str
    name: str
    created_at: str
    expires_at: str
    used_at: str | None


class NewTokenOut(TokenOut):
    """An API token with its secret, which is never shown again."""

    secret: str


# --- images ---------------------------------------------------------------------------------------------------------


class SpaceOut(Answer):
    """What world coordinates mean."""

    kind: Literal["patient", "map", "radar", "pixel"]
    crs: str | None


class GridOut(Answer):
    """Shape (z, y, x) and the 4 x 4 affine from index (z, y, x, 1) to world (X, Y, Z, 1)."""

    shape: Triple
    affine: list[list[float]]
    space: SpaceOut


class WindowOut(Answer):
    """A suggested window, in the channel's unit."""

    name: str
    center: float
    width: float


class ChannelOut(Answer):
    """One component of a sample; ``unit`` is that of real values."""

    name: str
    unit: str
    windows: list[WindowOut]


class RescaleOut(Answer):
    """``real = stored * slope + intercept``; one pair, or one for each z."""

    slope: list[float]
    intercept: list[float]


class SeriesOut(Answer):
    """What the image is. ``window_function`` is the DICOM VOI rule that fits its values."""

    name: str
    kind: Literal["volume", "raster"]
    modality: str
    axes: list[Literal["t", "c", "z", "y", "x"]]
    shape: list[int]
    dtype: str
    grid: GridOut
    channels: list[ChannelOut]
    rescale: RescaleOut
    nodata: float | None
    radar: dict[str, Any] | None
    warnings: list[str]
    window_function: Literal["LINEAR", "LINEAR_EXACT"]


class LevelOut(Answer):
    """One resolution; shapes are along the image's axes, ``factors`` along (z, y, x)."""

    path: str
    shape: list[int]
    chunks: list[int]
    shards: list[int]
    factors: Triple


class ImageOut(Answer):
    """An image."""

    id: str
    digest: str
    name: str
    format: str
    series: SeriesOut
    levels: list[LevelOut]
    bytes: int
    created_at: str
    projects: list[str]


class WorklistItem(Answer):
    """A row of the worklist."""

    id: str
    name: str
    project_id: str
    kind: Literal["volume", "raster"]
    modality: str
    shape: list[int]
    axes: list[str]
    spacing: tuple[float, float, float]
    created_at: str
    segmentations: int
    warnings: list[str]


class PositionOut(Answer):
    """Where on the ground a raster pixel lies, by which model, and how far that model is from its control points."""

    lon: float
    lat: float
    height_m: float | None
    error_m: float | None
    model: str


# --- labels ---------------------------------------------------------------------------------------------------------


class ClassOut(Answer):
    """What a label number stands for."""

    label: int
    name: str
    color: str
    hotkey: str | None
    code: Code | None
    category: Code | None = None


class ClassIn(Request):
    """As ``ClassOut``."""

    label: Annotated[int, Field(ge=1, le=65_535)]
    name: Annotated[str, Field(min_length=1, max_length=64)]
    color: Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]
    hotkey: Annotated[str, Field(max_length=1)] | None = None
    code: Code | None = None
    category: Code | None = None


class OntologyOut(Answer):
    """A version of a project's classes."""

    id: str
    version: int
    name: str
    classes: list[ClassOut]


class OntologyIn(Request):
    """The next version of an ontology, or the first of a new one. ``base`` is the version it was made from; 0: new."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    classes: Annotated[list[ClassIn], Field(max_length=4096)]
    base: Version | None = None


class SegmentationIn(Request):
    """A new, empty segmentation."""

    image_id: Annotated[str, Field(max_length=64)]
    name: Annotated[str, Field(min_length=1, max_length=100)]
    ontology_id: Annotated[str, Field(max_length=64)]


class SegmentationOut(Answer):
    """Labels on an image at their newest version, or at the version asked for."""

    id: str
    project_id: str
    image_id: str
    name: str
    version: int
    head: int
    ontology: OntologyOut
    grid: GridOut
    chunk_shape: Triple
    created_at: str


class BoxOut(Answer):
    """Voxels ``start <= index < stop``."""

    start: Triple
    stop: Triple


class ShapeOut(Answer):
    """A vector label; points are continuous indices, integers at voxel centres."""

    id: str
    kind: Literal["point", "polyline", "polygon", "box"]
    label: int
    points: list[Point]
    holes: list[list[Point]]
    attributes: dict[str, Any]


class ShapeIn(Request):
    """As ``ShapeOut``."""

    id: Annotated[str, Field(min_length=1, max_length=64)]
    kind: Literal["point", "polyline", "polygon", "box"]
    label: Annotated[int, Field(ge=1, le=65_535)]
    points: Annotated[list[Point], Field(max_length=100_000)]
    holes: Annotated[list[list[Point]], Field(max_length=10_000)] = []
    attributes: dict[str, Any] = {}


class ShapesOut(Answer):
    """Shapes of a version."""

    version: int
    shapes: list[ShapeOut]


class ChunksOut(Answer):
    """The chunks of a version that hold labels, ``z/y/x`` to digest; the others are background."""

    version: int
    chunks: dict[str, str]


class ChangesOut(Answer):
    """What is different at the head: chunks (``null``: background again) and shapes."""

    version: int
    chunks: dict[str, str | None]
    shapes: list[ShapeOut]
    deleted_shapes: list[str]


class VoxelWriteIn(Request):
    """``spans``: base64 of little-endian int32 rows (z, y, x, length), sorted and disjoint. ``over``: which labels may be
    painted over; null is any."""

    label: Label
    spans: str
    over: Annotated[list[Label], Field(max_length=65_536)] | None = None


class ShapePutIn(Request):
    """Add a shape, or replace the one with its id."""

    op: Literal["put"]
    shape: ShapeIn


class ShapeDeleteIn(Request):
    """Take a shape away."""

    op: Literal["delete"]
    id: Annotated[str, Field(min_length=1, max_length=64)]


class EditIn(Request):
    """One act on the version ``base``. ``request_id`` makes a repeated request harmless."""

    base: Version
    tool: Annotated[str, Field(min_length=1, max_length=64)]
    params: dict[str, Any] = {}
    reason: Annotated[str, Field(max_length=2000)] | None = None
    request_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    voxels: Annotated[list[VoxelWriteIn], Field(max_length=4096)] = []
    shapes: Annotated[
        list[Annotated[ShapePutIn | ShapeDeleteIn, Field(discriminator="op")]], Field(max_length=10_000)
    ] = []


class RevertIn(Request):
    """Undo one edit, on top of version ``base``."""

    base: Version


class RestoreIn(Request):
    """Make an old version the newest again."""

    version: Version
    base: Version
    reason: Annotated[str, Field(max_length=2000)] | None = None


class ReceiptOut(Answer):
    """What an edit became. ``entry_id`` names its entry in the log."""

    segmentation_id: str
    version: int
    digest: str
    entry_id: str
    voxels: int
    box: BoxOut | None
    chunks: dict[str, str | None]


class ActorOut(Answer):
    """Who did it."""

    id: str
    name: str


class EditOut(Answer):
    """An edit as history tells it."""

    version: int
    base: int
    time: str
    actor: ActorOut
    tool: str
    params: dict[str, Any]
    reason: str | None
    voxels: int
    box: BoxOut | None
    digest: str
    entry_id: str


# --- models ---------------------------------------------------------------------------------------------------------


class CardOut(Answer):
    """What a person must know before using a model."""

    id: str
    name: str
    version: str
    digest: str
    licence: str
    dims: list[Literal[2, 3]]
    prompts: list[str]
    outputs: str
    intended_use: str


class PromptIn(Request):
    """A hint to a model, in level-0 index space; a 2-D prompt names the axis of its plane."""

    kind: Annotated[str, Field(max_length=32)]
    positive: bool = True
    points: Annotated[list[Point], Field(max_length=10_000)] = []
    axis: Literal["z", "y", "x"] | None = None
    spans: str | None = None


class ProposalIn(Request):
    """A question to a model. The same prompts always give the same answer."""

    model: Annotated[str, Field(max_length=128)]
    prompts: Annotated[list[PromptIn], Field(max_length=256)]
    c: Annotated[int, Field(ge=0, lt=2**31, description="channel the model looks at")] = 0
    t: Annotated[int, Field(ge=0, lt=2**31, description="time the model looks at")] = 0


class ProposalOut(Answer):
    """A model's answer; it becomes labels only when a person accepts it."""

    id: str
    start: Triple
    stop: Triple
    spans: str
    voxels: int
    score: float | None
    seconds: float
    notes: list[str]


class AcceptIn(Request):
    """Make a proposal an edit of one's own."""

    base: Version
    label: Label
    over: Annotated[list[Label], Field(max_length=65_536)] | None = None


# --- exchange -------------------------------------------------------------------------------------------------------


class MatchOut(Answer):
    """A class of an imported file, the class it was taken for, and why."""

    file_label: int
    file_name: str
    label: int
    name: str
    by: Literal["choice", "code", "name", "label"]


class ImportOut(SegmentationOut):
    """The segmentation that an import made."""

    matches: list[MatchOut]
    entry_id: str


# --- audit ----------------------------------------------------------------------------------------------------------


class EntryOut(Answer):
    """One act. ``leaf`` is the entry as parsed; ``bytes`` the exact bytes the tree commits to, base64."""

    id: str
    index: int | None
    leaf: dict[str, Any]
    bytes: str


class CheckpointOut(Answer):
    """The newest signed checkpoint: a C2SP signed note."""

    size: int
    root: str
    note: str


class KeyOut(Answer):
    """The C2SP verifier key."""

    vkey: str


class ConsistencyOut(Answer):
    """Base64 hashes that prove the older log to be the beginning of the newer (RFC 6962 §2.1.2)."""

    old: int
    new: int
    hashes: list[str]


ConflictOut.model_rebuild()
