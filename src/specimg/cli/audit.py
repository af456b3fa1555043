"""``specimg audit``: check the log, hand it out, show its key, and take up again after a restore."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from specimg.settings import Settings

app = typer.Typer(help="The log: verify it, export it, show its key.", no_args_is_help=True)

_USAGE = 3


@app.command()
def verify(
    context: typer.Context,
    home: Annotated[Path | None, typer.Option(help="Data folder to check.", show_default="the one in use")] = None,
    bundle: Annotated[Path | None, typer.Option(help="A bundle written by 'audit export', or a .tlog-proof.")] = None,
    key: Annotated[
        str | None,
        typer.Option(help="Verifier key, or a file that holds it.", show_default="keys/log.vkey of the folder"),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint you kept elsewhere: history must continue it.")
    ] = None,
    no_images: Annotated[bool, typer.Option("--no-images", help="Do not read image and original files.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
) -> None:
    """Check that labels, entries and files are what was recorded. Needs the public key alone: no server, no network.

    Exit codes: 0 valid, 1 invalid (names the first bad entry), 2 not everything could be checked, 3 wrong usage. A key
    taken from the folder itself only shows that the folder agrees with itself: keep a copy of it elsewhere.
    """
    from specimg.audit.verify import verify_bundle, verify_home, verify_proof
    from specimg.audit.verify.note import BadNote
    from specimg.cli.commands import err, out

    settings: Settings = context.obj
    folder = home or settings.home
    try:
        text = _key(folder, key)
        kept = checkpoint.read_text("utf-8") if checkpoint is not None else None
        if bundle is not None and bundle.suffix == ".tlog-proof":
            report = verify_proof(bundle.read_text("utf-8"), text)
        elif bundle is not None:
            report = verify_bundle(bundle, text, checkpoint=kept)
        else:
            report = verify_home(folder, text, checkpoint=kept, images=not no_images)
    except (OSError, BadNote, UnicodeDecodeError) as error:
        err.print(f"specimg: {_reason(error)}", markup=False)
        raise typer.Exit(_USAGE) from error
    out.print(json.dumps(report.to_json(), indent=1) if as_json else report.render(), markup=False, end="")
    raise typer.Exit(report.exit_code)


@app.command()
def export(
    context: typer.Context,
    output: Annotated[Path, typer.Option(help="Zip file to write.")],
    segmentation: Annotated[
        str | None, typer.Option(help="Only the entries of this segmentation, with proofs.")
    ] = None,
) -> None:
    """Write the log as a bundle that anyone can verify offline with the public key."""
    from specimg.audit.bundle import export_bundle
    from specimg.cli.commands import opened, out

    with opened(context) as desk:
        desk.log.sequence()
        written = export_bundle(desk.database, desk.log, output, segmentation=segmentation)
    out.print(f"{output}: {written.size} entries in the log", markup=False)


@app.command()
def key(context: typer.Context) -> None:
    """Show the verifier key. Hand it on by another way than the data, and compare."""
    from specimg.cli.commands import opened, out

    with opened(context) as desk:
        out.print(desk.log.vkey, markup=False)


@app.command()
def recover(
    context: typer.Context,
    reason: Annotated[str, typer.Option(help="Why the log is older than its checkpoint, such as a restored backup.")],
) -> None:
    """Go on writing after a restore from backup. Recorded for ever: what came after the backup stays provably missing."""
    from specimg.cli.commands import opened, out
    from specimg.workflow import accounts

    with opened(context) as desk:
        newest = desk.log.recover(actor=accounts.operator(desk), reason=reason)
    out.print(f"recorded; the log goes on with {newest.size} entries", markup=False)


def _key(folder: Path, given: str | None) -> str:
    path = Path(given) if given is not None else folder / "keys" / "log.vkey"
    if given is not None and not path.is_file():
        return given
    return path.read_text("utf-8")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    return str(error) or "this is not text"
