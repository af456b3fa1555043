"""``specimg demo``: a data folder with real images, reference labels and a login.

Every step looks for what is there before it does anything, so a second start is instant, and one that was interrupted
goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from specimg import samples
from specimg.access import Role
from specimg.errors import NotFound, StoreError
from specimg.labels import ontology as ontologies
from specimg.labels import segmentation as segmentations
from specimg.labels.ontology import LabelClass
from specimg.store.durable import sync_folder
from specimg.store.writer import Progress
from specimg.workflow import accounts, annotate
from specimg.workflow.desk import Desk
from specimg.workflow.exchange import import_segmentation
from specimg.workflow.ingest import ingest

NAME = "demo"
LOGIN_FILE = "demo-login.txt"
_LABELS = "Reference"


@dataclass(frozen=True, slots=True)
class Login:
    """What to type into the login page."""

    name: str
    password: str


@dataclass(frozen=True, slots=True)
class Sample:
    """An image to ingest, its ontology, and labels to import with it."""

    key: str
    path: str
    ontology: str | None
    labels: str | None


SAMPLES = (
    Sample("ct", "ct", "ct_ontology.json", "ct_labels.nii.gz"),
    Sample("mr", "mr", "mr_ontology.json", "mr_labels.nii.gz"),
    Sample("sar", "sar", None, None),
)


def prepare(
    desk: Desk,
    progress: Progress,
    *,
    random: Callable[[int], bytes] = secrets.token_bytes,
    folder: Path = samples.FOLDER,
) -> Login:
    """Make sure that the data folder has the project, the account, the images and their labels."""
    project_id = _project(desk)
    login = _login(desk, project_id, random)
    there = {name: image.id for image, _, name in desk.images.in_projects([project_id])}
    if len(there) < len(SAMPLES) or not _all_labelled(desk, project_id):
        for sample in SAMPLES:
            _bring(desk, project_id, sample, folder, progress)
    return login


def _bring(desk: Desk, project_id: str, sample: Sample, folder: Path, progress: Progress) -> None:
    # Found again by its files if it is there: then no pixel is read.
    found = ingest(desk, accounts.operator(desk), folder / sample.path, project_id, progress=progress)
    if found.refusals or not found.images:
        why = f"{found.refusals[0].problem}" if found.refusals else "no image was found in it"
        raise StoreError(f"the sample {sample.key} that comes with specimg could not be ingested: {why}")
    ontology_id = _ontology(desk, project_id, sample, folder)
    image_id = found.images[0].image_id
    with desk.database.reading() as connection:
        names = {s.name for s in segmentations.of_image(connection, image_id, [project_id])}
    if sample.labels is not None and _LABELS not in names:
        import_segmentation(
            desk,
            accounts.operator(desk),
            project_id=project_id,
            image_id=image_id,
            name=_LABELS,
            path=folder / sample.labels,
            ontology_id=ontology_id,
        )


def _all_labelled(desk: Desk, project_id: str) -> bool:
    images = [image.id for image, _, _ in desk.images.in_projects([project_id])]
    with desk.database.reading() as connection:
        found = [s for image in images for s in segmentations.of_image(connection, image, [project_id])]
    return sum(s.name == _LABELS for s in found) >= sum(sample.labels is not None for sample in SAMPLES)


def _ontology(desk: Desk, project_id: str, sample: Sample, folder: Path) -> str:
    ontology_id = f"{project_id}-{sample.key}"
    with desk.database.reading() as connection:
        try:
            return ontologies.latest(connection, ontology_id).id
        except NotFound:
            pass
    if sample.ontology is None:
        made = ontologies.radar_scene(ontology_id)
        name, classes = made.name, made.classes
    else:
        value = json.loads((folder / sample.ontology).read_text("utf-8"))
        name, classes = value["name"], tuple(LabelClass.from_json(found) for found in value["classes"])
    annotate.change_ontology(
        desk,
        accounts.operator(desk),
        project_id=project_id,
        ontology_id=ontology_id,
        name=name,
        classes=classes,
        base=0,
    )
    return ontology_id


def _project(desk: Desk) -> str:
    try:
        return accounts.find_project(desk, NAME)
    except NotFound:
        return accounts.create_project(desk, accounts.operator(desk), NAME)


def _login(desk: Desk, project_id: str, random: Callable[[int], bytes]) -> Login:
    """The account and its password, which is kept in a file that only the owner of the data folder can read."""
    file = desk.home / LOGIN_FILE
    try:
        account_id = accounts.find_account(desk, NAME)
    except NotFound:
        # The file first: an account whose password nobody knows could not be used, a file without one does no harm.
        login = _read(file) or _write(file, Login(NAME, random(9).hex()))
        account_id = accounts.add_account(desk, accounts.operator(desk), NAME, login.password)
        accounts.set_role(desk, accounts.operator(desk), project_id, account_id, Role.ADMIN)
        return login
    return _read(file) or Login(NAME, "you chose (it is not in the data folder any more)")


def _read(file: Path) -> Login | None:
    try:
        name, password = file.read_text("utf-8").splitlines()[:2]
    except (FileNotFoundError, ValueError):
        return None
    return Login(name.removeprefix("name: "), password.removeprefix("password: "))


def _write(file: Path, login: Login) -> Login:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as target:
        target.write(f"name: {login.name}\npassword: {login.password}\n")
        target.flush()
        os.fsync(target.fileno())
    sync_folder(file.parent)
    return login
