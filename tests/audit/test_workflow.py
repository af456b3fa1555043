"""The whole way, with nothing written by hand: a real image is ingested and labelled, then one byte is changed."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from audit.recording import Intruder, vkey
from label_world import paint
from specimg import samples
from specimg.access import Actor, Role
from specimg.audit.verify import verify_home
from specimg.labels.ontology import LabelClass
from specimg.models.base import Prompt
from specimg.models.worker import Worker
from specimg.workflow import accounts
from specimg.workflow.annotate import apply_edit, change_ontology, create_segmentation, restore_version, revert_edit
from specimg.workflow.desk import Desk, open_desk
from specimg.workflow.ingest import ingest
from specimg.workflow.propose import accept, reject
from specimg.workflow.propose import propose as propose_with
from specimg.workflow.throttle import Throttle


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the MR sample, labelled by hand and with a model, and the server stopped."""
    home = tmp_path_factory.mktemp("workflow") / "home"
    with open_desk(home) as desk:
        desk.log.start(0.05)
        operator = accounts.operator(desk)
        project = accounts.create_project(desk, operator, "abdomen")
        account = accounts.add_account(desk, operator, "zoe.reader", "a long enough password")
        accounts.set_role(desk, accounts.operator(desk), project, account, Role.ADMIN)
        ada = accounts.login(desk, "zoe.reader", "a long enough password", throttle=Throttle()).actor
        source = Path(samples.__file__).parent / "mr" / "abdomen_mr.nii.gz"
        (image,) = ingest(desk, ada, source, project).images
        liver = LabelClass(1, "liver", "#aa5500", None, None)
        change_ontology(desk, ada, project_id=project, ontology_id="organs", name="Organs", classes=[liver])
        segmentation = create_segmentation(
            desk, ada, project_id=project, image_id=image.image_id, name="First reading", ontology_id="organs"
        ).id
        shape = desk.images.open(image.image_id).grid.shape
        mask = np.zeros(shape, bool)
        mask[3:6, 20:50, 30:60] = True
        apply_edit(desk, ada, segmentation, paint(mask, 1, base=0))
        revert_edit(desk, ada, segmentation, 1, base=1)
        restore_version(desk, ada, segmentation, 1, base=2, reason="Dr. Müller: it was right")
        apply_edit(desk, ada, segmentation, paint(np.roll(mask, 20, axis=1), 1, base=3))
        _ask_a_model(desk, ada, segmentation)
        desk.log.stop()
    return home


def _ask_a_model(desk: Desk, ada: Actor, segmentation: str) -> None:
    """Three answers: one superseded by the next, which is accepted, and one rejected."""
    click = Prompt("point", True, ((10.0, 45.0, 60.0),), "z")
    with closing(Worker()) as worker:

        def propose() -> str:
            return propose_with(desk, ada, segmentation, model="click", prompts=[click], worker=worker).id

        propose()
        accept(desk, ada, propose(), base=4, label=1)
        reject(desk, ada, propose())


@pytest.fixture
def tampered(labelled: Path, tmp_path: Path) -> Path:
    """A copy to tamper with."""
    return Path(shutil.copytree(labelled, tmp_path / "home"))


def test_what_the_server_wrote_is_valid(labelled: Path) -> None:
    report = verify_home(labelled, vkey(labelled))
    assert (report.exit_code, report.findings) == (0, []), report.render()
    assert report.counts["label versions"] == 5
    assert report.counts["proposals"] == 3
    assert report.counts["original files"] == 1
    assert report.counts["image files"] >= 2
    assert report.counts["private values"] == 1


def test_one_byte_of_a_label_blob(tampered: Path) -> None:
    with Intruder(tampered) as intruder:
        digest, data = intruder.run("SELECT digest, bytes FROM blob ORDER BY rowid LIMIT 1")[0]
        intruder.run("UPDATE blob SET bytes = ? WHERE digest = ?", data[:-1] + bytes([data[-1] ^ 1]), digest)
        index = intruder.index_of(1)
    bad = verify_home(tampered, vkey(tampered)).first_bad
    assert bad is not None
    assert (bad.code, bad.version, bad.index) == ("blob", 1, index)


def test_one_byte_of_an_image(tampered: Path) -> None:
    chunk = max((file for file in (tampered / "images").rglob("*") if file.is_file()), key=lambda f: f.stat().st_size)
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    bad = verify_home(tampered, vkey(tampered)).first_bad
    assert bad is not None
    assert bad.code == "image-files"


def test_the_geometry_of_an_image_in_the_database(tampered: Path) -> None:
    """Pixels untouched, but every exported label would lie elsewhere in the patient."""
    with Intruder(tampered) as intruder:
        intruder.run("UPDATE image SET series = json_set(series, '$.rescale.intercept[0]', 7)")
    bad = verify_home(tampered, vkey(tampered)).first_bad
    assert bad is not None
    assert bad.code == "image-row"


def test_no_name_is_anywhere_in_the_log(labelled: Path) -> None:
    with Intruder(Path(shutil.copytree(labelled, labelled.parent / "read"))) as intruder:
        leaves = b"\n".join(leaf for (leaf,) in intruder.run("SELECT leaf FROM entry"))
    for name in ("zoe.reader", "abdomen", "Müller", "mr.nii", "liver", "First reading"):
        assert name.encode() not in leaves
