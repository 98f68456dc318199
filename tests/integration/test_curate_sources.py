"""The training side of a stored curation as subjects: the rights of today, and nothing that is held out."""

import pytest

from tests.integration.test_curate_database import Archive
from trainer.curate.labels import Side
from trainer.curate.manifest import load_manifest
from trainer.curate.sources import Why, held_out_hashes, subjects_of_curation
from worker.errors import SetupError


@pytest.fixture
def archive(database, tmp_path):
    return Archive(database, tmp_path)


def test_subjects_are_the_training_side_under_the_rights_of_today(archive):
    for number in range(10):
        archive.add(lat=-60 + 10 * number, held_by=("slides",) if number < 3 else ("postcards",))
    archive.consent("slides")
    archive.consent("postcards")
    archive.curate()
    stored = load_manifest(archive.engine)
    train, held = stored.side(Side.TRAIN), stored.side(Side.HELD_OUT)
    found = subjects_of_curation(archive.engine, stored.id)
    assert [subject.id for subject in found.subjects] == sorted(member.sha256 for member in train)
    assert found.counts == {Why.HELD_OUT: len(held)} and found.rows == 10
    assert held_out_hashes(archive.engine) == {member.sha256 for member in held}
    by_id = {member.sha256: member for member in train}
    for subject in found.subjects:
        member = by_id[subject.id]
        assert (subject.uri, subject.lat, subject.lon) == (member.uri, member.lat, member.lon)
        assert (subject.image_id, subject.label_id) == (member.image_id, member.label_id)
        assert (subject.country_code, subject.country) == ("FR", "France")
    archive.consent("slides", granted=False)
    fewer = subjects_of_curation(archive.engine)
    gone = {subject.id for subject in found.subjects} - {subject.id for subject in fewer.subjects}
    assert gone and fewer.counts[Why.NO_CONSENT] >= len(gone)
    assert fewer.rows == 10


def test_a_curation_that_is_not_there_is_named(archive):
    with pytest.raises(SetupError, match="no curation 77"):
        subjects_of_curation(archive.engine, 77)
