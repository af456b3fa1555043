"""The commands, except those of ``audit`` and those about people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from specimg import __version__
from specimg.cli import audit, people
from specimg.errors import InvalidInput
from specimg.settings import Settings

if TYPE_CHECKING:
    from specimg.access import Actor
    from specimg.store.writer import Progress
    from specimg.workflow.desk import Desk
    from specimg.workflow.ingest import Ingestion

app = typer.Typer(
    name="specimg",
    help="Annotation server for images that carry physical meaning: CT, MR and radar.",
    epilog="Exit codes: 0 done, 1 refused (the reason is on standard error), 2 wrong usage. The data folder is --home or "
    "SPECIMG_HOME; whoever can write to it is its operator and needs no password here.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(audit.app, name="audit")
app.add_typer(people.users, name="user")
app.add_typer(people.projects, name="project")
app.add_typer(people.tokens, name="token")

out = Console(highlight=False, soft_wrap=True)
err = Console(highlight=False, soft_wrap=True, stderr=True)


def _version(shown: bool) -> None:
    if shown:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def start(
    context: typer.Context,
    home: Annotated[
        Path | None, typer.Option(help="Data folder.", envvar="SPECIMG_HOME", show_default=".specimg")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it and stop.")
    ] = False,
) -> None:
    """Read the settings once."""
    context.obj = Settings() if home is None else Settings(home=home)


@app.command()
def demo(
    context: typer.Context,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; PORT is honoured too.", show_default="8000")
    ] = None,
) -> None:
    """Fill a data folder with sample images (CT, MR, radar) and a login, and serve it until Ctrl-C.

    A second start is instant and keeps what you did.
    """
    from specimg.api.app import open_server_desk
    from specimg.cli.demo import prepare
    from specimg.cli.serving import serve as run

    settings: Settings = context.obj
    if port is not None:
        settings = settings.model_copy(update={"port": port})
    desk = open_server_desk(settings)
    with bar() as progress:
        login = prepare(desk, progress)
    run(settings, lambda url: _announce(url, f"Log in as {login.name} with the password {login.password}"), desk)


@app.command()
def serve(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; PORT is honoured too.", show_default="8000")
    ] = None,
    insecure_http: Annotated[
        bool, typer.Option("--insecure-http", help="Allow plain HTTP on an address that others can reach.")
    ] = False,
) -> None:
    """Serve a data folder until Ctrl-C. Listens on this machine only; put a proxy with TLS in front for others."""
    from specimg.cli.serving import serve as run

    given = {"host": host, "port": port, "insecure_http": insecure_http or None}
    settings: Settings = context.obj.model_copy(update={k: v for k, v in given.items() if v is not None})
    run(settings, lambda url: _announce(url, "Make a login with 'specimg user add NAME --project PROJECT'"))


@app.command()
def ingest(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Files, folders or zip archives.")],
    project: Annotated[str, typer.Option(help="Project that gets the images; made if it is not there.")],
) -> None:
    """Bring images into a project: DICOM series, NIfTI, GeoTIFF, Sentinel-1.

    Says for each series what became of it. Exit code 1 if anything was refused; the rest is in all the same.
    """
    from specimg.workflow.ingest import ingest as bring

    with opened(context) as desk:
        project_id = _project(desk, project)
        refused = False
        for path in paths:
            with bar() as progress:
                found = bring(desk, _operator(desk), path, project_id, progress=progress)
            refused = _report(path, found) or refused
    if refused:
        raise typer.Exit(1)


@app.command()
def images(
    context: typer.Context, project: Annotated[str | None, typer.Option(help="Only this project.")] = None
) -> None:
    """List images and their segmentations, with the ids that export and import need."""
    from specimg.labels import segmentation as segmentations
    from specimg.workflow import accounts

    with opened(context) as desk:
        actor = _operator(desk)
        wanted = [accounts.find_project(desk, project)] if project is not None else list(actor.roles)
        for image, project_id, name in desk.images.in_projects(wanted):
            shape = " × ".join(str(n) for n in image.series.shape)
            out.print(f"{image.id}  {image.series.modality:<6} {shape:<18} {name}", markup=False)
            with desk.database.reading() as connection:
                for found in segmentations.of_image(connection, image.id, [project_id]):
                    out.print(f"    {found.id}  version {found.head}  {found.name}", markup=False)


@app.command()
def export(
    context: typer.Context,
    segmentation: Annotated[str, typer.Argument(help="Its id; 'specimg images' lists them.")],
    format: Annotated[str, typer.Option(help="nifti, dicom-seg, geotiff, geojson or coco.")],
    output: Annotated[
        Path | None, typer.Option(help="File to write.", show_default="ID-vVERSION in this folder")
    ] = None,
    version: Annotated[int | None, typer.Option(min=0, help="Version.", show_default="newest")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a segmentation as a file of other programs. The log records it with the file's digest."""
    from specimg.labels import segmentation as segmentations
    from specimg.workflow.exchange import FORMATS, export_segmentation

    if format not in FORMATS:
        raise InvalidInput(f"labels are exported as {', '.join(FORMATS)}", field="format")
    with opened(context) as desk:
        with desk.database.reading() as connection:
            at = segmentations.load(connection, segmentation).head if version is None else version
        target = output or Path(f"{segmentation}-v{at}{FORMATS[format].suffix}")
        if target.exists() and not force:
            raise InvalidInput(f"{target} is there already; choose another name, or say --force")
        exported = export_segmentation(desk, _operator(desk), segmentation, at, format, target)
    for warning in exported.warnings:
        err.print(f"note: {warning}", markup=False)
    out.print(f"{target}: version {exported.version}, {exported.file}", markup=False)


@app.command("import")
def import_(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="NIfTI, DICOM SEG or GeoTIFF labels on the image's grid.")],
    image: Annotated[str, typer.Option(help="Id of the image; 'specimg images' lists them.")],
    project: Annotated[str, typer.Option(help="Project of the image.")],
    name: Annotated[str, typer.Option(help="Name of the new segmentation.")] = "Imported",
    ontology: Annotated[str | None, typer.Option(help="Id of the ontology.", show_default="the one that fits")] = None,
) -> None:
    """Make a new segmentation from a label file. Says which class was taken for which."""
    from specimg.workflow import accounts
    from specimg.workflow.exchange import import_segmentation

    with opened(context) as desk:
        made = import_segmentation(
            desk,
            _operator(desk),
            project_id=accounts.find_project(desk, project),
            image_id=image,
            name=name,
            path=path,
            ontology_id=ontology,
        )
    for match in made.matches:
        out.print(
            f"    {match.file_label} {match.file_name} → {match.label} {match.name} (by {match.by})", markup=False
        )
    out.print(f"{made.segmentation.id}  {made.receipt.voxels} voxels", markup=False)


def _announce(url: str, hint: str) -> None:
    out.print(f"specimg serves {url}\n{hint}\nCtrl-C stops.", markup=False)


def _operator(desk: Desk) -> Actor:
    from specimg.workflow import accounts

    return accounts.operator(desk)


def _project(desk: Desk, name: str) -> str:
    from specimg.errors import NotFound
    from specimg.workflow import accounts

    try:
        return accounts.find_project(desk, name)
    except NotFound:
        return accounts.create_project(desk, _operator(desk), name)


def _report(path: Path, found: Ingestion) -> bool:
    """Say what became of a source; whether anything was refused."""
    for image in found.images:
        out.print(f"{image.image_id}  {image.name}{'  (was there already)' if image.already else ''}", markup=False)
        for warning in image.warnings:
            out.print(f"    note: {warning}", markup=False)
    if found.ignored:
        out.print(f"    {len(found.ignored)} files of {path.name} are of no format that specimg reads", markup=False)
    for refusal in found.refusals:
        where = f"{refusal.field}: " if refusal.field else ""
        err.print(f"refused {refusal.file}: {where}{refusal.problem}. {refusal.remedy}", markup=False)
    if not found.images and not found.refusals:
        err.print(f"refused {path.name}: nothing in it is an image that specimg reads.", markup=False)
        return True
    return bool(found.refusals)


@contextmanager
def opened(context: typer.Context) -> Iterator[Desk]:
    """The data folder, beside a server that may be running; what was done is in the log when it closes."""
    from specimg.api.app import limits_of
    from specimg.workflow.desk import open_desk

    settings: Settings = context.obj
    with open_desk(settings.home, limits=limits_of(settings)) as desk:
        try:
            yield desk
        finally:
            if desk.log.refusal is None:
                desk.log.sequence()


@contextmanager
def bar() -> Iterator[Progress]:
    """A progress bar on standard error, told in bytes."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as shown:
        tasks: dict[str, int] = {}

        def told(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = shown.add_task(phase, total=total)
            shown.update(tasks[phase], completed=done, total=total)  # type: ignore[arg-type]  # TaskID is an int

        yield told
