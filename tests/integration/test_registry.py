"""The registry on a real database: one row for each model, promotions one after the other, and the commands.

Long because registering, promoting and rolling back are told of the same few models.
"""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import DBAPIError

from benchmarks.null_models import NullGate
from schema import queries
from schema.tables import image, label, model_version, prediction, promotion
from worker.checkpoints import Checkpoint
from worker.commands.models import command
from worker.errors import SetupError
from worker.identity import ModelIdentity
from worker.reason.engines import Sampling
from worker.registry import look, promote, register, rollback, serving
from worker.versions import record_versions

BASE = "globe"


def checkpoint(folder, words="weights"):
    """A folder with the files of a checkpoint, for those who only hash them."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(words.encode() * 100)
    (folder / "config.json").write_text(json.dumps({"say": words}))
    (folder / "globetag.json").write_text(json.dumps({"recipe": "r"}))
    (folder / "adapter").mkdir()
    (folder / "adapter" / "notes.txt").write_text("no part of what is loaded")
    return folder


@pytest.fixture
def add(database, tmp_path):
    """Registers a new version with this name."""

    def add(name, **given):
        given = {
            "base": BASE,
            "parent_id": None,
            "training_run_id": None,
            "curation_id": None,
            "metrics": {},
        } | given
        folder = tmp_path / name
        if not folder.exists():
            checkpoint(folder, name)
        return register(database.engine, folder, **given)

    return add


def _promote(database, version_id, base=BASE, **given):
    promote(database.engine, version_id, base=base, **({"by": "me", "reason": "r", "evidence": {}} | given))


def _rollback(database, **given):
    return rollback(database.engine, base=BASE, by="me", reason="", **given)


def _record(database, name, version, loaded_as="float32"):
    """What a worker does when it has loaded such a model."""
    with database.engine.begin() as connection:
        return record_versions(
            connection,
            model=ModelIdentity("lvlm", name, version, loaded_as=loaded_as),
            gate=NullGate().identity,
            gate_threshold=0.5,
            prompt_hash="prompt",
            sampling=Sampling(),
            gazetteer_version="atlas",
        )


def _count(database, table):
    with database.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


# --- registering ---


def test_a_registered_version_says_where_it_comes_from(database, add, tmp_path):
    with database.engine.begin() as connection:
        run_id, curation_id = (
            connection.execute(text(f"INSERT INTO {statement} RETURNING id")).scalar_one()
            for statement in (
                "training_run (recipe, state, asked_by, base) VALUES ('r', 'queued', 'person', 'globe')",
                "curation (hash, labels_until, parameters, labels_in, train, held_out, dropped)"
                " VALUES ('h', 1, '{}', 2, 1, 1, '{}')",
            )
        )
    parent = add("first")
    child = add(
        "second", parent_id=parent.id, training_run_id=run_id, curation_id=curation_id, metrics={"accuracy": 0.5}
    )
    assert (child.kind, child.base, child.folder) == ("lvlm", BASE, tmp_path / "second")
    assert (child.parent_id, child.training_run_id, child.curation_id) == (parent.id, run_id, curation_id)
    assert child.metrics == {"accuracy": 0.5}
    assert set(child.files) == {"model.safetensors", "config.json", "globetag.json"}
    assert all(len(value) == 64 for value in child.files.values())
    assert child.version == Checkpoint("", child.folder, None).version
    assert serving(database.engine, BASE) is None, "registering lets nothing serve"


def test_registering_twice_is_registering_once(database, add):
    first = add("first", metrics={"accuracy": 0.5})
    assert add("first", metrics={"accuracy": 0.9}) == first
    assert _count(database, model_version) == 1


def test_registering_from_many_threads_is_registering_once(database, add, tmp_path):
    checkpoint(tmp_path / "first", "first")
    with ThreadPoolExecutor(6) as pool:
        found = {registered.id for registered in pool.map(lambda _: add("first"), range(12))}
    assert len(found) == _count(database, model_version) == 1


def test_a_folder_that_moved_is_registered_anew_under_the_old_number(database, add, tmp_path):
    first = add("first")
    (tmp_path / "first").rename(tmp_path / "moved")
    with pytest.raises(SetupError, match=r"its folder .*first is gone"):
        _promote(database, first.id)
    moved = add("moved")
    assert (moved.id, moved.folder) == (first.id, tmp_path / "moved")
    _promote(database, first.id)


def test_weights_belong_to_one_base(add):
    add("first")
    with pytest.raises(SetupError, match="registered for GLOBETAG_MODEL=globe"):
        add("first", base="another")


@pytest.mark.parametrize("holds", [None, "config.json"])
def test_what_is_no_checkpoint_is_not_registered(database, tmp_path, holds):
    folder = tmp_path / "folder"
    if holds:
        folder.mkdir()
        (folder / holds).write_text("{}")
    with pytest.raises(SetupError, match="give the folder of a complete checkpoint"):
        register(
            database.engine, folder, base=BASE, parent_id=None, training_run_id=None, curation_id=None, metrics={}
        )
    assert _count(database, model_version) == 0


def test_it_is_never_its_own_parent(add):
    first = add("first")
    assert add("first", parent_id=first.id).parent_id is None


# --- one row for the same weights ---


def test_a_worker_that_loads_registered_weights_keeps_their_row_whatever_their_folder_is_called(database, add):
    registered = add("first")
    loaded = _record(database, "./first", registered.version)
    again = _record(database, "/mnt/models/first", registered.version)
    assert loaded.model_version_id == again.model_version_id == registered.id
    assert loaded.pipeline_version == again.pipeline_version, "the same weights are the same pipeline"
    assert _count(database, model_version) == 2, "and the gate"


def test_weights_that_answered_before_they_were_registered_keep_their_row_and_their_pipeline(
    database, add, tmp_path
):
    folder = checkpoint(tmp_path / "first", "first")
    before = _record(database, "./first", Checkpoint("", folder, None).version)
    registered = add("first")
    after = _record(database, str(folder), registered.version)
    assert before.model_version_id == registered.id == after.model_version_id
    assert before.pipeline_version == after.pipeline_version


def test_how_weights_were_loaded_is_another_pipeline_of_the_same_version(database, add):
    registered = add("first")
    one, other = (_record(database, "first", registered.version, kind) for kind in ("float32", "bfloat16"))
    assert one.model_version_id == other.model_version_id
    assert one.pipeline_version != other.pipeline_version
    assert (one.sampling["loaded_as"], other.sampling["loaded_as"]) == ("float32", "bfloat16")


# --- promoting ---


def test_what_is_promoted_serves_its_base_and_no_other(database, add):
    first = add("first")
    _promote(database, first.id, by="anna", reason="better", evidence={"gain": 3.5})
    assert serving(database.engine, BASE) == first
    assert serving(database.engine, "another") is None
    standing = look(database.engine, BASE)
    assert (standing.action, standing.by, standing.reason) == ("promote", "anna", "better")
    with database.engine.connect() as connection:
        [row] = connection.execute(select(promotion)).all()
    assert (row.model_version_id, row.previous_id, row.evidence) == (first.id, None, {"gain": 3.5})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "config.json").write_text("{}"), "config.json has changed"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors is gone"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "tokenizer.json was added"),
        (lambda folder: folder.rename(folder.with_name("away")), "is gone; put the registered files back"),
    ],
    ids=["changed", "a file is gone", "a file was added", "the folder is gone"],
)
def test_files_that_are_not_those_that_were_registered_are_refused_and_nothing_changes(
    database, add, change, said
):
    first, second = add("first"), add("second")
    _promote(database, first.id)
    change(second.folder)
    with pytest.raises(SetupError, match=said) as refused:
        _promote(database, second.id)
    assert "put the registered files back" in str(refused.value)
    assert serving(database.engine, BASE) == first
    assert _count(database, promotion) == 1


def test_a_file_in_a_subfolder_is_no_part_of_the_model(database, add):
    first = add("first")
    (first.folder / "adapter" / "notes.txt").write_text("something else")
    _promote(database, first.id)


def test_only_what_is_registered_for_the_base_can_be_promoted(database, add):
    other = add("first", base="another")
    with pytest.raises(SetupError, match="belongs to GLOBETAG_MODEL=another"):
        _promote(database, other.id)
    answered = _record(database, "hub/model", "0123456789abcdef")
    with pytest.raises(SetupError, match="is not registered"):
        _promote(database, answered.model_version_id)
    with pytest.raises(SetupError, match="no model version 999"):
        _promote(database, 999)
    assert _count(database, promotion) == 0


def test_a_rollback_goes_back_one_step_at_a_time_until_the_base_serves(database, add):
    first, second = add("first"), add("second")
    for version in (first, second, second, first):
        _promote(database, version.id)
    assert _rollback(database) == second
    assert _rollback(database) == first
    _promote(database, second.id)
    assert _rollback(database) == first
    assert _rollback(database) is None
    assert serving(database.engine, BASE) is None
    with pytest.raises(SetupError, match="nothing to roll back to"):
        _rollback(database)
    _promote(database, second.id)
    assert _rollback(database) is None


def test_a_rollback_to_files_that_are_gone_is_refused_and_the_base_is_always_there(database, add):
    first, second = add("first"), add("second")
    _promote(database, first.id)
    _promote(database, second.id)
    (first.folder / "config.json").unlink()
    with pytest.raises(SetupError, match=r"config\.json is gone"):
        _rollback(database)
    assert serving(database.engine, BASE) == second
    assert _rollback(database, to_base=True) is None
    with pytest.raises(SetupError, match="nothing to roll back to"):
        _rollback(database)


def test_promotions_from_many_threads_come_one_after_the_other(database, add):
    versions = [add(f"v{number}").id for number in range(4)]
    barrier = threading.Barrier(8)

    def work(number):
        barrier.wait(30)
        for turn in range(5):
            _promote(database, versions[(number + turn) % 4], reason=f"{number}")

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work, number) for number in range(8)]:
            future.result(60)
    with database.engine.connect() as connection:
        rows = connection.execute(select(promotion).order_by(promotion.c.id)).all()
    assert len(rows) == 40
    assert [row.previous_id for row in rows] == [None, *(row.model_version_id for row in rows[:-1])]
    assert serving(database.engine, BASE).id == rows[-1].model_version_id


@pytest.mark.parametrize(
    "statement", ["UPDATE promotion SET by = 'x'", "DELETE FROM promotion", "TRUNCATE promotion CASCADE"]
)
def test_what_was_promoted_stays_written(database, add, statement):
    _promote(database, add("first").id)
    with database.engine.connect() as connection, pytest.raises(DBAPIError, match="promotions are only added"):
        connection.execute(text(statement))


# --- comparing ---

PARIS, NEAR_PARIS, LYON, OSAKA = (48.8534, 2.3488), (48.9, 2.4), (45.75, 4.85), (34.6938, 135.5011)


def _predictions(database, rows):
    """Rows: model version, photograph, request, point or None. Every photograph was taken in Paris."""
    with database.engine.begin() as connection:
        gate = connection.execute(
            queries.models.ENSURE_MODEL_VERSION, {"kind": "gate", "name": "g", "version": "1", "untrained": False}
        ).scalar_one()
        ids = {}
        for version, name, request, point, country in rows:
            if name not in ids:
                ids[name] = connection.execute(
                    insert(image)
                    .values(sha256=name * 64, format="jpeg", width_px=1, height_px=1, size_bytes=1)
                    .returning(image.c.id)
                ).scalar_one()
                if name != "z":
                    place = {"lat": PARIS[0], "lon": PARIS[1], "country_code": None if name == "y" else "FR"}
                    connection.execute(insert(label).values(image_id=ids[name], source="manual", **place))
            connection.execute(
                insert(prediction).values(
                    image_id=ids[name],
                    status="located" if point else "not_locatable",
                    reason=None if point else "no_place_stated",
                    lat=point and point[0],
                    lon=point and point[1],
                    country_code=country,
                    pipeline_version=f"p{version}",
                    request_hash=request,
                    model_version_id=version,
                    gate_version_id=gate,
                    prompt_hash="h",
                    sampling={},
                    gazetteer_version="g",
                    code_version="c",
                )
            )


def _compare(database, a, b):
    with database.engine.connect() as connection:
        rows = connection.execute(queries.models.COMPARE_VERSIONS, {"a": a, "b": b}).all()
    return {row.measure: tuple(row)[1:] for row in rows}


def test_versions_are_compared_on_the_photographs_that_both_were_asked_about(database, add):
    a, b = add("first").id, add("second").id
    _predictions(
        database,
        [
            (a, "1", "r", NEAR_PARIS, "FR"), (b, "1", "r", PARIS, "FR"),  # both right
            (a, "2", "r", LYON, "FR"), (b, "2", "r", PARIS, "FR"),  # only b within 25 km
            (a, "3", "r", PARIS, "FR"), (b, "3", "r", None, None),  # only a
            (a, "4", "r", OSAKA, "JP"), (b, "4", "r", LYON, "FR"),  # only b, and not within 200 km
            (a, "5", "r", PARIS, "FR"),  # asked of one alone
            (a, "6", "r", PARIS, "FR"), (b, "6", "s", PARIS, "FR"),  # asked in other words
            (a, "y", "r", PARIS, "FR"), (b, "y", "r", PARIS, "FR"),  # of no known country
            (a, "z", "r", PARIS, "FR"), (b, "z", "r", PARIS, "FR"),  # of no known place
        ],
    )  # fmt: skip
    expected = {  # photographs, a right, b right, only a, only b
        "answered": (5, 5, 4, 1, 0),
        "within 25 km": (5, 3, 3, 1, 1),
        "within 200 km": (5, 3, 3, 1, 1),
        "within 750 km": (5, 4, 4, 1, 1),
        "country": (4, 3, 3, 1, 1),
    }
    assert _compare(database, a, b) == expected
    swapped = {
        measure: (n, right_b, right_a, only_b, only_a)
        for measure, (n, right_a, right_b, only_a, only_b) in expected.items()
    }
    assert _compare(database, b, a) == swapped


# --- the commands ---


@pytest.fixture
def models(database, tmp_path, monkeypatch):
    """Runs `globetag models …` on this database, as somebody whose LVLM is BASE."""
    monkeypatch.setenv("GLOBETAG_DATABASE_URL", database.url)
    monkeypatch.setenv("GLOBETAG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GLOBETAG_MODEL", BASE)
    monkeypatch.setenv("COLUMNS", "250")

    def models(*arguments):
        done = CliRunner().invoke(command, list(map(str, arguments)))
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return models


def test_what_serves_is_shown_with_who_let_it_and_when(database, add, models):
    assert "the base model itself; nothing was promoted" in models().output
    first = add("first", metrics={"accuracy": 0.512, "curve": [1, 2]})
    done = models("promote", first.id, "--reason", "better by 3 points")
    assert done.exit_code == 0
    for shown in (done.output, models().output):
        assert f"serving: model version {first.id}" in shown
        assert "better by 3 points" in shown
        assert f"by {look(database.engine, BASE).by}" in shown
    listed = models("list").output
    assert "accuracy 0.512" in listed
    assert "serves" in listed
    assert "curve" not in listed
    done = models("rollback", "--reason", "it invents")
    assert "serving: the base model, rolled back to" in done.output
    assert "it invents" in done.output


def test_a_failure_of_a_running_worker_is_shown(database, add, models):
    first = add("first")
    _promote(database, first.id)
    with database.engine.begin() as connection:
        connection.execute(
            queries.models.ADD_PROMOTION_FAILURE,
            {"promotion_id": look(database.engine, BASE).promotion_id, "worker": "host/1", "detail": "no memory"},
        )
    shown = models().output
    assert "FAILED on worker host/1" in shown
    assert "no memory" in shown
    assert f"globetag models promote {first.id}" in shown
    _promote(database, first.id)
    assert "FAILED" not in models().output, "it is another promotion"


def test_a_folder_can_be_registered_by_hand(database, models, tmp_path):
    folder = checkpoint(tmp_path / "mine")
    done = models("register", folder)
    assert (done.exit_code, "is registered" in done.output) == (0, True)
    assert "no predictions" not in models("list").output
    assert models("register", tmp_path / "nothing").exit_code == 2


def test_versions_are_compared_by_their_numbers(database, add, models):
    a, b = add("first").id, add("second").id
    assert "no photograph with a known place" in models("compare", a, b).output
    _predictions(database, [(a, "1", "r", LYON, "FR"), (b, "1", "r", PARIS, "FR")])
    shown = models("compare", a, b).output
    [line] = [line for line in shown.splitlines() if "within 25 km" in line]
    assert [word for word in line.split() if word.isdigit()][1:] == ["1", "0", "1", "0", "1"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("promote", 999), "no model version 999"),
        (("compare", 1, 999), "no model version"),
        (("register", ".", "--parent", 999), "no model version 999"),
        (("rollback",), "nothing to roll back to"),
    ],
)
def test_what_cannot_be_done_is_one_line(models, arguments, said):
    with pytest.raises(SetupError, match=rf"^[^\n]*{said}[^\n]*$"):
        models(*arguments)


@pytest.mark.parametrize(
    "arguments", [("promote",), ("promote", "best"), ("promote", 0), ("promote", 2**70), ("compare", 1)]
)
def test_what_is_no_number_is_a_wrong_usage(models, arguments):
    assert models(*arguments).exit_code == 2


def test_a_list_of_nothing_says_so(models):
    assert f"no version is registered for GLOBETAG_MODEL={BASE}" in models("list").output
