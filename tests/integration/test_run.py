"""The command as people call it: one process, from a folder to rows, a table, a report and an exit code."""

import csv
import html
import io
import json
import re
import signal
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from sqlalchemy import func, select

from atlas.photographs import write_photographs
from schema.session import make_engine
from schema.tables import image, job, label, prediction
from tests.support import Command, own_home, wait_for, write_pictures
from worker import embedded

pytestmark = pytest.mark.models

BROKEN = {"broken-empty.jpg": "empty", "broken-text.jpg": "not_an_image", "broken-truncated.jpg": "unreadable"}
KNOWN = 8
PHOTOGRAPHS = 24


class _Addresses(HTMLParser):
    """Everything that a browser would follow or load, by the tags' attributes."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href", "xlink:href", "srcset", "data")]


class Archive:
    """The drawn photographs after two runs over them."""

    def __init__(self, home, models, folder):
        self.folder = folder
        self.globetag = Command(home, models)
        self.engine = make_engine(embedded.start(home))
        write_photographs(folder, seed=7)
        self.first = self.globetag.run("run", folder)
        self.after_first = self.counts()
        self.second = self.globetag.run("run", folder)

    def counts(self):
        with self.engine.connect() as connection:
            return {
                table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in (job, image, label, prediction)
            }

    def jobs(self):
        with self.engine.connect() as connection:
            return {row.uri.rpartition("/")[2]: row for row in connection.execute(select(job))}


@pytest.fixture(scope="module")
def archive(tiny_models, tmp_path_factory):
    with own_home() as home:
        archive = Archive(home, tiny_models, tmp_path_factory.mktemp("archive") / "photographs")
        yield archive
        archive.engine.dispose()


def _assert_one_line(ended, *named):
    """It ended because the set-up is wrong, and said so in one line that names what is meant."""
    assert ended.returncode == 1, ended.stderr
    said = [line for line in ended.stderr.splitlines() if line.startswith("globetag: ")]
    assert len(said) == 1, ended.stderr
    assert ended.stderr.rstrip().endswith(said[0]), "nothing follows"
    assert "Traceback" not in ended.stdout + ended.stderr
    for name in named:
        assert name in said[0]


# --- a run ---


def test_a_run_settles_everything_and_says_that_some_failed(archive):
    assert archive.first.returncode == 3, archive.first.stderr
    assert "Traceback" not in archive.first.stdout + archive.first.stderr
    jobs = archive.jobs()
    assert len(jobs) == PHOTOGRAPHS
    assert {row.state for row in jobs.values()} <= {"done", "failed"}
    assert {name: jobs[name].reason for name in BROKEN} == BROKEN
    assert sum(row.outcome == "known" for row in jobs.values()) == KNOWN
    assert archive.after_first["image"] == PHOTOGRAPHS - len(BROKEN) - 1, "one is a copy of another"
    assert archive.after_first["label"] == KNOWN


def test_the_table_tells_every_photograph_once(archive):
    told = {
        words: int(count) for count, words in re.findall(r"^ *(\d+) +(\w+)", archive.first.stdout, re.MULTILINE)
    }
    assert told["photographs"] == told["done"] + told["failed"] == PHOTOGRAPHS
    assert told["place"] == KNOWN
    assert "UNTRAINED" in archive.first.stdout
    for reason in BROKEN.values():
        assert told[reason] == 1


def test_the_report_stands_on_its_own(archive):
    path = Path(re.search(r"^report: (.+)$", archive.first.stdout, re.MULTILINE)[1])
    report = (path if path.is_absolute() else Path.cwd() / path).read_text(encoding="utf-8")
    parser = _Addresses()
    parser.feed(report)
    assert parser.found, "it has pictures"
    assert [address for address in parser.found if not address.startswith(("data:", "#", "file:"))] == []
    assert not re.search(r"url\(\s*[\"']?https?:|@import", report)
    assert "UNTRAINED" in report.upper()
    shown = html.unescape(report)
    assert [name for name in archive.jobs() if unquote(name) not in shown] == []


def test_a_second_run_computes_nothing_and_says_so(archive):
    assert "nothing to compute" in archive.second.stdout
    assert "done before and unchanged" in archive.second.stdout
    assert archive.second.returncode == 3, "the failures are still there"
    assert archive.counts()["prediction"] == archive.after_first["prediction"]


def test_an_interrupt_finishes_what_is_in_work_and_the_next_run_finishes_the_rest(home, tiny_models, tmp_path):
    count = 400
    pictures = tmp_path / "pictures"
    write_pictures(pictures, count, position=(48, 2))
    globetag = Command(home, tiny_models, GLOBETAG_THREADS="4")
    globetag.run("db", "upgrade")
    engine = make_engine(embedded.start(home))

    def states():
        with engine.connect() as connection:
            return dict(connection.execute(select(job.c.state, func.count()).group_by(job.c.state)).all())

    try:
        process = globetag.start("run", pictures)
        wait_for(lambda: states().get("done", 0) >= 20, "the first photographs")
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == 130, stderr
        after = states()
        assert set(after) == {"done", "queued"}, "nothing is left in the middle"
        assert f"{after['queued']:,} photographs are left" in stderr
        assert "report: " in stdout
        assert "Traceback" not in stderr
        last = globetag.run("run", pictures)
        assert last.returncode == 0, last.stderr
        assert states() == {"done": count}
    finally:
        engine.dispose()


# --- set-ups that are wrong ---


def test_a_folder_that_does_not_exist_is_one_line_and_nothing_is_written(home, tiny_models, tmp_path):
    _assert_one_line(Command(home, tiny_models).run("run", tmp_path / "no-such-folder"), "no-such-folder")
    assert not home.exists()


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"GLOBETAG_DATABASE_URL": "mysql://localhost/x"}, "GLOBETAG_DATABASE_URL"),
        ({"GLOBETAG_DATABASE_URL": "no url at all"}, "GLOBETAG_DATABASE_URL"),
        ({"GLOBETAG_DATABASE_URL": "postgresql://postgres@127.0.0.1:1/x"}, "GLOBETAG_DATABASE_URL"),
        ({"GLOBETAG_BROKER_URL": "redis://localhost"}, "GLOBETAG_BROKER_URL"),
        ({"GLOBETAG_THREADS": "many"}, "GLOBETAG_THREADS"),
        ({"GLOBETAG_COLOUR": "blue"}, "GLOBETAG_COLOUR"),
    ],
    ids=["another database", "no url", "database down", "another broker", "no number", "no such setting"],
)
def test_a_setting_that_is_wrong_is_named_in_one_line(home, tiny_models, tmp_path, environment, named):
    write_pictures(tmp_path / "pictures", 1)
    _assert_one_line(Command(home, tiny_models, **environment).run("run", tmp_path / "pictures"), named)
    assert not (home / "postgres").exists()


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"GLOBETAG_BROKER_URL": "amqp://guest:guest@127.0.0.1:1//"}, "GLOBETAG_BROKER_URL"),
        ({"GLOBETAG_MODEL": "/no/such/model"}, "/no/such/model"),
        ({"GLOBETAG_CLIP": "/no/such/clip"}, "/no/such/clip"),
    ],
    ids=["broker down", "no model", "no clip"],
)
def test_a_part_that_is_missing_is_named_in_one_line_before_any_row_is_written(
    database, home, tiny_models, tmp_path, environment, named
):
    write_pictures(tmp_path / "pictures", 1)
    globetag = Command(home, tiny_models, **{"GLOBETAG_DATABASE_URL": database.url} | environment)
    _assert_one_line(globetag.run("run", tmp_path / "pictures"), named)
    with database.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(job)).scalar_one() == 0


# --- the other commands ---


def test_python_m_worker_and_globetag_are_the_same(archive):
    script = Path(sys.executable).with_name("globetag")
    said = [
        subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
        for command in ([sys.executable, "-m", "worker"], [script])
    ]
    first, second = (text.partition("Usage:")[2].partition("\n")[2] for text in said)
    assert first == second != ""


def test_status_shows_how_far_everything_is(archive):
    shown = archive.globetag.run("status")
    assert shown.returncode == 0, shown.stderr
    assert re.search(rf"default\W+{PHOTOGRAPHS}\b", shown.stdout)
    for reason in BROKEN.values():
        assert reason in shown.stdout


def test_db_url_lets_other_programs_in(archive):
    shown = archive.globetag.run("db", "url")
    assert shown.returncode == 0, shown.stderr
    other = make_engine(shown.stdout.strip())
    with other.connect() as connection:
        assert connection.execute(select(func.count()).select_from(job)).scalar_one() == PHOTOGRAPHS
    other.dispose()


def test_settings_are_shown_with_their_origin_and_without_passwords(archive, home, tiny_models):
    url = "postgresql://me:geheim@db.example/archive"
    shown = Command(home, tiny_models, GLOBETAG_DATABASE_URL=url).run("settings")
    assert shown.returncode == 0, shown.stderr
    assert "geheim" not in shown.stdout
    assert "me:***@db.example" in shown.stdout
    assert re.search(r"GLOBETAG_MAX_TOKENS\W+4\W+environment", shown.stdout)
    assert re.search(r"GLOBETAG_LEASE_S\W+60\.0\W+default", shown.stdout)


def test_every_export_holds_every_photograph_and_the_known_places(archive, tmp_path):
    seen = {}
    for name in re.findall(r"\[([a-z|-]+)\]", archive.globetag.run("export", "--help").stdout)[0].split("|"):
        written = tmp_path / name
        ended = archive.globetag.run("export", "--format", name, "-o", written)
        assert ended.returncode == 0, ended.stderr
        printed = archive.globetag.run("export", "--format", name)
        seen[name] = written.read_bytes().decode()
        assert printed.stdout.splitlines() == seen[name].splitlines()
    assert set(seen) == {"csv", "geojson", "jsonl"}
    rows = list(csv.DictReader(io.StringIO(seen["csv"])))
    lines = [json.loads(line) for line in seen["jsonl"].splitlines()]
    assert len(rows) == len(lines) == PHOTOGRAPHS
    placed = [row for row in rows if row["decimalLatitude"]]
    features = json.loads(seen["geojson"])["features"]
    suva = next(feature for feature in features if "beach-suva" in json.dumps(feature))
    assert suva["geometry"]["coordinates"] == pytest.approx([178.4419, -18.1416], abs=1e-4)
    assert len(placed) >= KNOWN


def test_what_failed_can_be_queued_again_by_reason(archive):
    failed = [row for row in archive.jobs().values() if row.reason == "not_an_image"]
    ended = archive.globetag.run("retry", "--failed", "--reason", "not_an_image")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"{len(failed)} photograph")
    assert archive.jobs()["broken-text.jpg"].state == "queued"
    again = archive.globetag.run("retry", "--failed", "--reason", "timeout")
    assert again.stdout.startswith("0 photograph")
    assert archive.globetag.run("retry").returncode == 2, "it wants to be told --failed"


def test_a_person_can_say_where_it_was(archive):
    photograph = archive.folder / "hills.jpg"
    ended = archive.globetag.run(
        "label", photograph, "--author", "me", "--note", "I was there", "--", "-33.9", "18.4"
    )
    assert ended.returncode == 0, ended.stderr
    with archive.engine.connect() as connection:
        row = connection.execute(select(label).where(label.c.source == "manual")).one()
    assert (row.lat, row.lon, row.author, row.note, row.country_code) == (-33.9, 18.4, "me", "I was there", "ZA")
    unknown = archive.folder.parent / "unknown.png"
    unknown.write_bytes(b"never seen")
    _assert_one_line(archive.globetag.run("label", unknown, "1", "2"), "unknown.png")
    assert archive.globetag.run("label", photograph, "91", "0").returncode == 2
