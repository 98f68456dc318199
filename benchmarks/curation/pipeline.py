"""Teachers asked as an operator would ask them: the archive, HTTP, vLLM, Postgres and `globetag curate run`.

The scenes are written as photographs with a camera position and taken into an archive of their own (`globetag
run`), whose gate embeds them: what the coordinate teacher goes by. Then `globetag curate run` asks the three
imperfect teachers, each on a port of its own, a real vLLM server, and the archive. In mid-run it is killed
(SIGKILL) and started again. What was answered is read from Postgres, and judged there too, by the shipped code.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from sqlalchemy import Engine, text

from atlas import WEIGHTS
from atlas.archive import TRUTH_NAME, write_split
from atlas.recognise import Recogniser
from atlas.scenes import scene
from atlas.teacher_server import TeacherServer
from atlas.teachers import TEACHERS
from atlas.visible import SEGMENTER_NAME, AtlasVisible, Seen, load_cuts
from atlas.world import World
from benchmarks.curation.cases import ClipSentences
from benchmarks.curation.drawing import ARCHIVE, TINY, Evidence, evidence_in, pictures_of
from benchmarks.curation.serving import NAME, ModelServer
from benchmarks.curation.store import ASKED, SPLIT, Row
from trainer.curate.distil.store import named
from trainer.curate.distil.verifying import Judged, verify_distillation
from trainer.curate.opinions import Case
from worker.database import open_database
from worker.errors import SetupError
from worker.settings import load

DISTILLATION = "atlas"
KILLED_AT = 0.25
"""The share of all answers after which the run is killed."""
_LOOK_S = 0.2
_LONGEST_S = 3600.0

_ANSWERED = text("""
    SELECT d.uri, a.teacher, a.raw, a.lat, a.lon, a.confidence, a.trouble
    FROM teacher_answer a
    JOIN distilled d ON d.distillation_id = a.distillation_id AND d.sha256 = a.sha256
    JOIN distillation n ON n.id = a.distillation_id
    WHERE n.name = :name AND a.state <> 'asked'
""")


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of a run. `answered_at_kill`: questions that were answered when it was killed; `asked_twice`: of
    these, those that a teacher was asked again; `again`: of all questions to the HTTP teachers, those asked more
    than once because they were under way. `judged`: what the shipped code made of the rows in Postgres.
    """

    rows: list[Row]
    questions: int
    answered_at_kill: int
    asked_twice: int
    again: int
    judged: Judged

    @property
    def figures(self) -> dict[str, float]:
        """For `benchmarks.curation.store.keep_asked`."""
        told = (self.questions, self.answered_at_kill, self.asked_twice, self.again, self.judged.counts.kept)
        return dict(zip(ASKED, map(float, told), strict=True))


def ask(world: World, count: int) -> Asked:
    """Has the first `count` scenes of the split answered by all teachers."""
    scenes = [scene(world, SPLIT, index) for index in range(count)]
    with tempfile.TemporaryDirectory(prefix="curation-") as scratch, ExitStack() as stack:
        folder = Path(scratch, "photographs")
        truth = write_split(folder, world, SPLIT, count, gps_share=1.0)
        assert truth == folder / TRUTH_NAME
        environment = _environment(Path(scratch, "home"))
        engine = stack.enter_context(open_database(load(environment)[0])).engine
        _archive(folder, environment)
        known = Recogniser(scenes)
        servers = [stack.enter_context(TeacherServer(teacher, known)) for teacher in TEACHERS]
        model = stack.enter_context(ModelServer(Path(scratch)))
        teachers = _teachers_file(Path(scratch, "teachers.yaml"), servers, model)
        command = ["curate", "run", "--folder", str(folder), "--teachers", str(teachers), "--name", DISTILLATION]
        questions = count * (len(servers) + 2)
        before = _killed_run(engine, command, environment, questions)
        asked_before = {(server.teacher.name, id): n for server in servers for id, n in server.asked.items()}
        _globetag(command, environment)
        asked = {(server.teacher.name, id): n for server in servers for id, n in server.asked.items()}
        pictures = pictures_of(folder, world, count, gps_share=1.0)
        looked = dict(zip((one.id for one in scenes), evidence_in(pictures), strict=True))
        return Asked(
            rows=_rows(engine, [one.id for one in scenes], looked),
            questions=questions,
            answered_at_kill=len(before),
            asked_twice=sum(asked[each] != asked_before[each] for each in before if each in asked),
            again=sum(n > 1 for n in asked.values()),
            judged=_judge(engine, looked),
        )


def _environment(home: Path) -> dict[str, str]:
    """Of the commands: an archive of its own, with the Atlas's models."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GLOBETAG_")}
    return own | {
        "GLOBETAG_HOME": str(home),
        "GLOBETAG_MODEL": str(WEIGHTS / "vlm-best"),
        "GLOBETAG_ENGINE": "transformers",
        "GLOBETAG_CLIP": str(WEIGHTS / "clip"),
    }


def _globetag(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Raises `SetupError` where the command fails."""
    ended = subprocess.run(
        [sys.executable, "-m", "worker", *command],
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=_LONGEST_S,
        check=False,
    )
    print(ended.stdout, flush=True)
    if ended.returncode != 0:
        raise SetupError(f"globetag {command[0]} ended with {ended.returncode}: {ended.stderr[-1500:]}")


def _archive(folder: Path, environment: Mapping[str, str]) -> None:
    _globetag(["run", str(folder), "--collection", DISTILLATION], environment)


def _teachers_file(file: Path, servers: Sequence[TeacherServer], model: ModelServer) -> Path:
    named_teachers = [
        {"name": one.teacher.name, "kind": "openai", "url": one.url, "model": one.teacher.name} for one in servers
    ]
    tiny = {"name": TINY, "kind": "openai", "url": model.url, "model": NAME, "concurrency": 16, "max_tokens": 128}
    archive = {"name": ARCHIVE, "kind": "recall"}
    file.write_text(yaml.safe_dump({"teachers": [*named_teachers, tiny, archive]}), encoding="utf-8")
    return file


def _killed_run(
    engine: Engine, command: Sequence[str], environment: Mapping[str, str], questions: int
) -> set[tuple[str, str]]:
    """Starts the command and kills it without warning in mid-run; what was answered by then: (teacher, scene)."""
    with _started(command, environment) as process:
        until_s = time.monotonic() + _LONGEST_S
        while process.poll() is None and time.monotonic() < until_s:
            if len(answered := _answered(engine)) >= KILLED_AT * questions:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                # Once it is dead nothing more arrives.
                answered = _answered(engine)
                print(f"killed when {len(answered):,} of {questions:,} questions were answered", flush=True)
                return answered
            time.sleep(_LOOK_S)
    raise SetupError(f"curate run ended by itself with {process.returncode}, before it could be killed")


@contextmanager
def _started(command: Sequence[str], environment: Mapping[str, str]) -> "Iterator[subprocess.Popen[bytes]]":
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", *command],
        env=dict(environment),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answered(engine: Engine) -> set[tuple[str, str]]:
    with engine.connect() as connection:
        found = connection.execute(_ANSWERED, {"name": DISTILLATION}).all()
    return {(row.teacher, Path(row.uri).stem) for row in found}


def _rows(engine: Engine, ids: Sequence[str], looked: Mapping[str, tuple[Evidence, Evidence]]) -> list[Row]:
    """What Postgres has of each scene, in their order. Teachers come in the order of their names."""
    said: dict[str, dict[str, str]] = {id: {} for id in ids}
    points: dict[str, dict[str, tuple[float, float, float]]] = {id: {} for id in ids}
    with engine.connect() as connection:
        for row in connection.execute(_ANSWERED, {"name": DISTILLATION}).all():
            id = Path(row.uri).stem
            if row.lat is not None:
                points[id][row.teacher] = (row.lat, row.lon, row.confidence)
            elif row.teacher != ARCHIVE and row.raw is not None:
                said[id][row.teacher] = row.raw
    return [Row(id, dict(sorted(said[id].items())), points[id], *looked[id]) for id in ids]


def _judge(engine: Engine, looked: Mapping[str, tuple[Evidence, Evidence]]) -> Judged:
    """The rows in Postgres judged where they are, with what looks at this world's pictures."""

    def seen_in(cases: Sequence[Case]) -> list[Seen]:
        return [Seen(looked[Path(case.subject.uri).stem][0]) for case in cases]

    visible = AtlasVisible(seen_in, load_cuts(), SEGMENTER_NAME)
    stored = named(engine, DISTILLATION)
    return verify_distillation(engine, stored.id, similarity=ClipSentences(), visible=visible)
