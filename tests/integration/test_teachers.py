"""Teachers over real HTTP, answers in a real Postgres, and the commands that ask, go on, and judge.

Long because all of it goes through one set of teachers that misbehave to order.
"""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter

import pytest
from click.testing import CliRunner
from sqlalchemy import select, text

from schema.tables import distillation, distilled, distilled_sample, teacher_answer
from tests.support import ROOT, picture, wait_for
from tests.teaching import Teaching, says, teachers_file, words, write_archive
from trainer.commands import curate_plan, curate_run, curate_status
from worker import exit_codes
from worker.errors import SetupError

pytestmark = pytest.mark.timeout(900)

START_S = 200.0
"""A process that starts on two busy cores has taken one minute."""


@pytest.fixture
def curate(database, monkeypatch):
    """Runs a command here and now; returns its exit code and all that it printed."""
    monkeypatch.setenv("GLOBETAG_DATABASE_URL", database.url)
    monkeypatch.setenv("COLUMNS", "200")

    def curate(module, *arguments):
        done = CliRunner().invoke(module.command, list(map(str, arguments)))
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.output

    return curate


def rows(database, table=teacher_answer):
    with database.engine.connect() as connection:
        return connection.execute(select(table).order_by(*table.primary_key.columns)).all()


def states(database):
    return Counter((row.teacher, row.state, row.trouble) for row in rows(database))


def start(database, *arguments):
    """`globetag curate run` as a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GLOBETAG_")}
    return subprocess.Popen(
        [sys.executable, "-m", "worker", "curate", "run", *map(str, arguments)],
        cwd=ROOT,
        env=environment | {"GLOBETAG_DATABASE_URL": database.url, "COLUMNS": "200", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


# --- asking ---


def test_everything_is_asked_once_and_judged(database, curate, tmp_path):
    folder = write_archive(tmp_path / "photos", 12)
    with Teaching() as one, Teaching() as two:
        file = teachers_file(tmp_path / "teachers.yaml", one=one.url, two=two.url)
        code, said = curate(curate_run, "--folder", folder, "--teachers", file, "--name", "first")
        again, said_again = curate(curate_run, "--folder", folder, "--teachers", file, "--name", "first")
        assert sorted(one.served) == sorted(two.served) == list(range(12))
        keys = [
            headers["Idempotency-Key"] for headers in [*one.headers, *two.headers] if "Idempotency-Key" in headers
        ]
        assert len(set(keys)) == len(keys) == 2 * (12 + 1)  # and the control
        names = [headers["X-Request-Id"] for headers in one.headers if "X-Request-Id" in headers]
        assert len(set(names)) == 13
    assert (code, again) == (exit_codes.DONE, exit_codes.DONE), said
    assert "nothing to ask" in said_again
    assert states(database) == {("one", "answered", None): 12, ("two", "answered", None): 12}
    row = rows(database)[0]
    assert (row.asks, row.model, row.finish_reason, row.tokens_in, row.tokens_out) == (1, "globe", "stop", 700, 60)
    assert row.sampling == {"max_tokens": 1024, "temperature": 0.0, "top_p": 1.0, "seed": 0}
    assert len(row.prompt_hash) == 16
    [stored] = rows(database, distillation)
    assert (stored.state, stored.source["kind"]) == ("done", "folder")
    assert stored.standing["one"]["control"]["names_city"] is True  # it says Oslo for a grey picture
    assert {row.state for row in rows(database, distilled)} == {"done"}
    samples = rows(database, distilled_sample)
    assert len(samples) == 24
    assert {row.reasoning for row in samples} == {
        f"A wall of {words(number)} stands there. The roofs are red." for number in range(12)
    }
    assert sum(row.chosen for row in samples) == len({row.sha256 for row in samples if row.kept}) == 12


def test_verifying_again_gives_the_same_rows_and_other_thresholds_others(database, curate, tmp_path):
    folder = write_archive(tmp_path / "photos", 8)
    with Teaching() as one, Teaching(lambda number: says(number or 0, city="Bergen", country="Norway")) as two:
        file = teachers_file(tmp_path / "teachers.yaml", one=one.url, two=two.url)
        curate(curate_run, "--folder", folder, "--teachers", file)

    def kept():
        return {
            (row.sha256, row.teacher): (row.kept, row.dropped_by, row.reason)
            for row in rows(database, distilled_sample)
        }

    first = kept()
    code, said = curate(curate_run, "--verify-only")
    assert (code, kept()) == (exit_codes.DONE, first), said
    curate(curate_run, "--verify-only", "--threshold", "min_p_locatable=0.9")
    assert {fate[2] for fate in kept().values()} == {"low_probability"}
    [stored] = rows(database, distillation)
    assert stored.parameters["thresholds"]["min_p_locatable"] == 0.9
    with pytest.raises(SetupError, match="no threshold is called city"):
        curate(curate_run, "--verify-only", "--threshold", "city=3")


class Tap:
    """Lets so many answers through and holds the others back until the next turn: what is killed is in mid-run."""

    def __init__(self):
        self._changed = threading.Condition()
        self._turn = self._left = 0

    def turn(self, answers):
        """Those that were held back are let go: nobody waits for them any more."""
        with self._changed:
            self._turn, self._left = self._turn + 1, answers
            self._changed.notify_all()

    def __call__(self, number):
        if number is not None:
            with self._changed:
                mine = self._turn
                self._changed.wait_for(lambda: self._left > 0 or self._turn != mine)
                if self._turn == mine:
                    self._left -= 1
                    self._changed.notify_all()
        return says(number or 0)

    def is_dry(self):
        with self._changed:
            return self._left == 0


def test_a_killed_run_goes_on_and_asks_nothing_twice_that_was_answered(database, tmp_path):
    count, at_once, a_turn = 60, 4, 15
    folder = write_archive(tmp_path / "photos", count)
    taps = {"one": Tap(), "two": Tap()}
    with Teaching(taps["one"]) as one, Teaching(taps["two"]) as two:
        servers = {"one": one, "two": two}
        more = {"concurrency": at_once, "timeout_s": 500}
        file = teachers_file(tmp_path / "teachers.yaml", one=(one.url, more), two=(two.url, more))
        arguments = ("--folder", folder, "--teachers", file, "--name", "killed")
        asked_in_flight = Counter()
        answered = set()
        for _ in range(2):
            for tap in taps.values():
                tap.turn(a_turn)
            process = start(database, *arguments)
            wait_for(lambda: all(tap.is_dry() for tap in taps.values()), "questions", timeout_s=START_S)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            under_way = [(row.sha256, row.teacher) for row in rows(database) if row.state == "asked"]
            assert 0 < len(under_way) <= 2 * at_once
            asked_in_flight.update(under_way)
            now = {(row.sha256, row.teacher) for row in rows(database) if row.state == "answered"}
            assert answered < now
            answered = now
        for tap in taps.values():
            tap.turn(10 * count)
        process = start(database, *arguments)
        said, _ = process.communicate(timeout=START_S)
        assert process.returncode == exit_codes.DONE, said
        for name, server in servers.items():
            served = Counter(server.served)
            assert set(served) == set(range(count))
            twice = {number for number, times in served.items() if times > 1}
            in_flight = {sha256 for sha256, teacher in asked_in_flight if teacher == name}
            assert len(twice) <= len(in_flight)
            numbers = number_by_hash(folder)
            assert twice <= {numbers[sha256] for sha256 in in_flight}
            for row in rows(database):
                if row.teacher == name:
                    assert row.state == "answered"
                    assert row.asks == 1 + asked_in_flight[row.sha256, name]
                    assert served[numbers[row.sha256]] <= row.asks
        assert f"{len(under_way):,} questions were under way when an earlier run died" in said
        # The same question bears the same key, so that whoever has answered it need not answer twice.
        by_key = Counter(headers["Idempotency-Key"] for headers in one.headers if "Idempotency-Key" in headers)
        assert len(by_key) == count + 1


def number_by_hash(folder):
    import hashlib

    return {hashlib.sha256(path.read_bytes()).hexdigest(): int(path.stem) for path in sorted(folder.glob("*.png"))}


def test_an_interrupted_run_lets_answers_arrive_and_goes_on(database, tmp_path):
    folder = write_archive(tmp_path / "photos", 40)
    free = threading.Event()

    def slow(number):
        free.wait(0.2)
        return says(number or 0)

    with Teaching(slow) as one:
        file = teachers_file(tmp_path / "teachers.yaml", one=(one.url, {"concurrency": 3}))
        arguments = ("--folder", folder, "--teachers", file, "--name", "stopped")
        process = start(database, *arguments)
        wait_for(lambda: len(one.served) >= 5, "questions", timeout_s=START_S)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=START_S)
        assert process.returncode == exit_codes.INTERRUPTED, said
        assert "run the same command again" in said
        assert {row.state for row in rows(database)} == {"answered"}
        assert 5 <= len(rows(database)) < 40
        [stored] = rows(database, distillation)
        assert stored.state == "interrupted"
        free.set()
        process = start(database, *arguments)
        said, _ = process.communicate(timeout=START_S)
        assert process.returncode == exit_codes.DONE, said
        assert Counter(one.served) == dict.fromkeys(range(40), 1)


def test_what_was_answered_for_another_distillation_is_taken_over_and_not_paid_twice(database, curate, tmp_path):
    folder = write_archive(tmp_path / "photos", 6)
    with Teaching() as one:
        file = teachers_file(tmp_path / "teachers.yaml", one=one.url)
        curate(curate_run, "--folder", folder, "--teachers", file, "--at-most", "4", "--name", "trial")
        assert len(one.served) == 4
        _, said = curate(curate_plan, "--folder", folder, "--teachers", file)
        assert "2 questions" in said
        code, said = curate(curate_run, "--folder", folder, "--teachers", file)
        assert sorted(one.served) == list(range(6))
        assert (code, "one: 4 answers were there from other distillations" in said) == (exit_codes.DONE, True)
        # Drawn in another way it is another question, and so it is where it is to be asked anew.
        hotter = teachers_file(tmp_path / "hotter.yaml", one=(one.url, {"temperature": 0.5}))
        curate(curate_run, "--folder", folder, "--teachers", hotter, "--name", "hotter")
        assert len(one.served) == 12
        curate(curate_run, "--folder", folder, "--teachers", file, "--name", "new", "--ask-anew", "one")
        assert len(one.served) == 18
    assert len(rows(database, distilled_sample)) == 4 + 6 + 6 + 6


def test_two_runs_of_one_distillation_do_not_work_at_once(database, curate, tmp_path):
    folder = write_archive(tmp_path / "photos", 4)
    free = threading.Event()

    def slow(number):
        free.wait(20)
        return says(number or 0)

    with Teaching(slow) as one:
        file = teachers_file(tmp_path / "teachers.yaml", one=one.url)
        arguments = ("--folder", folder, "--teachers", file, "--name", "one")
        process = start(database, *arguments)
        wait_for(lambda: one.questions, "a question", timeout_s=START_S)
        try:
            with pytest.raises(SetupError, match="another process is at work on the distillation 'one'"):
                curate(curate_run, *arguments)
            _, said = curate(curate_status, "--name", "one")
            assert "its process has ended" not in said
        finally:
            free.set()
            process.communicate(timeout=START_S)
    assert process.returncode == exit_codes.DONE


# --- bad teachers ---


def constant(_number):
    return says(7)


def sorry(_number):
    return "I'm sorry, but I can't help with identifying where photographs were taken."


def german(number):
    reasons = (
        f"Das Haus {words(number or 0)} ist nicht sehr alt und die Dächer sind rot mit einem Schornstein darauf."
    )
    return f"<think>{reasons}</think><answer>country: Germany</answer>"


def own_json(number):
    return f'{{"analysis": {{"vibe": "{words(number or 0)}"}}, "score": 3}}'


def empty(_number):
    return ""


def unseeing(number):
    return f"I don't see any image, {words(number or 0)}. Please provide the image."


@pytest.mark.parametrize(
    ("bad", "trouble"),
    [
        (constant, "same_for_all"),
        (sorry, "refused"),
        (german, "other_language"),
        (own_json, "unreadable"),
        (empty, "empty"),
        (unseeing, "no_picture"),
        (lambda _: (400, {"error": {"message": "blocked by the content filter"}}), "refused"),
    ],
)
def test_a_bad_teacher_is_quarantined_and_the_others_go_on(database, curate, tmp_path, bad, trouble):
    folder = write_archive(tmp_path / "photos", 40)
    with Teaching() as good, Teaching(bad) as other:
        more = {"concurrency": 2}
        file = teachers_file(tmp_path / "teachers.yaml", good=good.url, bad=(other.url, more))
        arguments = ("--folder", folder, "--teachers", file, "--name", "d")
        code, said = curate(curate_run, *arguments)
        asked_of_bad = len(other.served)
        assert code == exit_codes.SOME_FAILED
        assert f"QUARANTINED bad: {trouble}" in said
        assert 20 <= asked_of_bad <= 22
        code, said = curate(curate_run, *arguments)
        assert len(other.served) == asked_of_bad  # it is asked no more
        assert f"QUARANTINED bad: {trouble}" in said
    [stored] = rows(database, distillation)
    assert stored.standing["bad"]["quarantined"] == trouble
    assert states(database)["good", "answered", None] == 40
    assert {row.teacher for row in rows(database, distilled_sample)} == {"good"}
    _, said = curate(curate_status)
    assert f"QUARANTINED, {trouble}" in said


def test_a_teacher_that_was_mended_is_asked_anew(database, curate, tmp_path):
    folder = write_archive(tmp_path / "photos", 24)
    teaching = {"say": constant}
    with Teaching(lambda number: teaching["say"](number or 0)) as one:
        file = teachers_file(tmp_path / "teachers.yaml", one=one.url)
        arguments = ("--folder", folder, "--teachers", file)
        code, _ = curate(curate_run, *arguments)
        assert code == exit_codes.SOME_FAILED
        teaching["say"] = says
        before = {headers["Idempotency-Key"] for headers in one.headers if "Idempotency-Key" in headers}
        code, said = curate(curate_run, *arguments, "--ask-anew", "one")
        after = [headers["Idempotency-Key"] for headers in one.headers if "Idempotency-Key" in headers]
        assert len(set(after) - before) == 25
    assert code == exit_codes.DONE, said
    assert states(database) == {("one", "answered", None): 24}


def test_one_bad_answer_is_trouble_and_no_quarantine(database, curate, tmp_path):
    folder = write_archive(tmp_path / "photos", 24)

    def mostly(number):
        return {3: sorry(3), 5: own_json(5), 7: ""}.get(number) if number in {3, 5, 7} else says(number or 0)

    def cut(number):
        if number != 9:
            return mostly(number)
        reply = {"choices": [{"index": 0, "message": {"content": "<think>It is"}, "finish_reason": "length"}]}
        return 200, reply | {"usage": {"prompt_tokens": 9, "completion_tokens": 16}}

    with Teaching(cut) as one:
        file = teachers_file(tmp_path / "teachers.yaml", one=one.url)
        code, said = curate(curate_run, "--folder", folder, "--teachers", file)
        curate(curate_run, "--folder", folder, "--teachers", file)
        assert Counter(one.served) == dict.fromkeys(range(24), 1)  # a bad answer is an answer
    assert code == exit_codes.DONE, said
    troubled = {trouble: count for (_, state, trouble), count in states(database).items() if state == "troubled"}
    assert troubled == {"refused": 1, "unreadable": 1, "empty": 1, "cut": 1}
    [stored] = rows(database, distillation)
    assert stored.counts["judged"]["troubled"] == {"one": troubled}
    assert len(rows(database, distilled_sample)) == 20


def test_a_blind_teacher_is_quarantined_at_once(database, curate, tmp_path):
    folder = write_archive(tmp_path / "photos", 4)

    class Blind(Teaching):
        def first(self, body):
            reply = super().first(body)
            reply[1]["usage"]["prompt_tokens"] = 9
            return reply

    with Teaching() as good, Blind() as blind:
        file = teachers_file(tmp_path / "teachers.yaml", good=good.url, blind=blind.url)
        code, said = curate(curate_run, "--folder", folder, "--teachers", file)
        assert blind.served == []
    assert code == exit_codes.SOME_FAILED
    assert "QUARANTINED blind: no_picture" in said


def test_no_teacher_at_all_is_one_clear_message_and_what_was_answered_stays(database, curate, tmp_path):
    folder = write_archive(tmp_path / "photos", 6)
    with Teaching() as one:
        file = teachers_file(tmp_path / "teachers.yaml", one=one.url)
        curate(curate_run, "--folder", folder, "--teachers", file, "--name", "d")
        gone = one.port
    (folder / "0099.png").write_bytes(picture(99))
    with (folder / "places.csv").open("a", encoding="utf-8") as table:
        table.write("0099.png,59.9127,10.7461,Norway,Oslo\n")
    with pytest.raises(
        SetupError, match=r"no teacher can be asked, and what was answered before is kept.*one: url"
    ) as told:
        curate(curate_run, "--folder", folder, "--teachers", file, "--name", "d")
    assert "\n" not in str(told.value)
    assert states(database) == {("one", "answered", None): 6}
    [stored] = rows(database, distillation)
    assert stored.state == "failed"
    with Teaching(port=gone) as one:
        code, said = curate(curate_run, "--folder", folder, "--teachers", file, "--name", "d")
        assert len(one.served) == 1
    assert code == exit_codes.DONE, said
    assert states(database) == {("one", "answered", None): 7}


def test_a_teacher_that_goes_away_is_asked_again_when_it_is_back(database, curate, tmp_path):
    folder = write_archive(tmp_path / "photos", 10)
    with Teaching() as good:
        with Teaching() as leaving:
            port = leaving.port
        file = teachers_file(tmp_path / "teachers.yaml", good=good.url, away=f"http://127.0.0.1:{port}/v1")
        arguments = ("--folder", folder, "--teachers", file, "--patience-s", "1")
        code, said = curate(curate_run, *arguments)
        assert code == exit_codes.SOME_FAILED
        assert "AWAY away" in said
        assert states(database) == {("good", "answered", None): 10}
        with Teaching(port=port):
            code, said = curate(curate_run, *arguments)
    assert code == exit_codes.DONE, said
    assert states(database) == {("good", "answered", None): 10, ("away", "answered", None): 10}


def test_a_server_that_breaks_now_and_then_is_tried_again(database, curate, tmp_path):
    folder = write_archive(tmp_path / "photos", 8)
    broken = Counter()

    def shaky(number):
        if number is not None and broken[number] < 1:
            broken[number] += 1
            return 503, {"error": "busy"}, {"Retry-After": "0"}
        return says(number or 0)

    with Teaching(shaky) as one:
        file = teachers_file(tmp_path / "teachers.yaml", one=(one.url, {"concurrency": 1}))
        code, said = curate(curate_run, "--folder", folder, "--teachers", file)
    assert code == exit_codes.DONE, said
    assert states(database) == {("one", "answered", None): 8}
    assert {row.asks for row in rows(database)} == {2}  # what went out twice is counted twice


# --- photographs that are gone, changed or erased ---


def test_a_photograph_that_has_changed_is_left_out(database, curate, tmp_path):
    folder = write_archive(tmp_path / "photos", 4)
    gone = folder / "0001.png"

    def first(number):
        gone.unlink(missing_ok=True)
        return says(number or 0)

    with Teaching(first) as one:
        file = teachers_file(tmp_path / "teachers.yaml", one=(one.url, {"concurrency": 1}))
        code, said = curate(curate_run, "--folder", folder, "--teachers", file)
    assert code == exit_codes.DONE, said
    assert states(database) == {("one", "answered", None): 3}
    left_out = {row.reason for row in rows(database, distilled) if row.state == "left_out"}
    assert left_out == {"not_found"}


def test_what_is_erased_while_it_is_asked_about_leaves_nothing(database, curate, tmp_path):
    from schema.reasons import ForgetReason
    from worker.forgetting import Chosen, erase

    folder = write_archive(tmp_path / "photos", 4)
    erased = []

    def erasing(number):
        if number == 2:
            sha256 = {value: key for key, value in number_by_hash(folder).items()}[2]
            erased.append(sha256)
            erase(database.engine, Chosen(hashes=(sha256,)), forgotten_by="x", reason=ForgetReason.OTHER)
        return says(number or 0)

    with Teaching(erasing) as one:
        file = teachers_file(tmp_path / "teachers.yaml", one=one.url)
        code, said = curate(curate_run, "--folder", folder, "--teachers", file, "--name", "d")
        again, _ = curate(curate_run, "--folder", folder, "--teachers", file, "--name", "d")
        assert sorted(one.served) == [0, 1, 2, 3]
    assert (code, again) == (exit_codes.DONE, exit_codes.DONE), said
    for table in (distilled, teacher_answer, distilled_sample):
        assert erased[0] not in {row.sha256 for row in rows(database, table)}
        assert len(rows(database, table)) == 3


# --- plan and status ---


def test_a_plan_asks_nobody_and_knows_what_is_left(database, curate, tmp_path):
    folder = write_archive(tmp_path / "photos", 6)
    with Teaching() as one:
        prices = {"price_in": 2.0, "price_out": 10.0}
        file = teachers_file(tmp_path / "teachers.yaml", one=(one.url, prices))
        code, said = curate(curate_plan, "--folder", folder, "--teachers", file)
        assert (code, one.asked) == (0, [])
        assert "6 questions" in said
        assert "assumed" in said
        curate(curate_run, "--folder", folder, "--teachers", file)
        (folder / "0099.png").write_bytes(picture(99))
        with (folder / "places.csv").open("a", encoding="utf-8") as table:
            table.write("0099.png,59.9127,10.7461,Norway,Oslo\n")
        asked = len(one.asked)
        code, said = curate(curate_plan, "--folder", folder, "--teachers", file)
        assert len(one.asked) == asked
    assert "1 questions" in said
    assert "measured" in said
    assert "700" in said  # tokens of a question, as they were
    with database.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM distilled")).scalar_one() == 6


def test_status_before_anything_was_asked_says_what_to_do(curate):
    with pytest.raises(SetupError, match="globetag curate plan"):
        curate(curate_status)
    code, _ = curate(curate_status, "--all")
    assert code == 0


def test_a_name_stands_for_one_source(database, curate, tmp_path):
    with Teaching() as one:
        file = teachers_file(tmp_path / "teachers.yaml", one=one.url)
        for number, name in enumerate(("here", "there")):
            folder = write_archive(tmp_path / name, 2 + number)
            if number == 0:
                curate(curate_run, "--folder", folder, "--teachers", file, "--name", "d")
        with pytest.raises(SetupError, match="asks about another source"):
            curate(curate_run, "--folder", folder, "--teachers", file, "--name", "d")


# --- stopping at once, and memory ---


def test_a_second_signal_leaves_what_is_under_way(database, tmp_path):
    folder = write_archive(tmp_path / "photos", 12)
    free = threading.Event()

    def hanging(number):
        if number is not None:
            free.wait(START_S)
        return says(number or 0)

    with Teaching(hanging) as one:
        more = {"concurrency": 3, "timeout_s": 500}
        file = teachers_file(tmp_path / "teachers.yaml", one=(one.url, more))
        arguments = ("--folder", folder, "--teachers", file, "--name", "hung")
        process = start(database, *arguments)
        wait_for(lambda: len(one.questions) >= 4, "questions", timeout_s=START_S)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=START_S)
        assert process.returncode == exit_codes.INTERRUPTED, said
        assert [row.state for row in rows(database)] == ["asked"] * 3
        assert one.most <= 3
        free.set()
        process = start(database, *arguments)
        said, _ = process.communicate(timeout=START_S)
    assert process.returncode == exit_codes.DONE, said
    assert "3 questions were under way when an earlier run died" in said
    assert sorted(row.asks for row in rows(database)) == [1] * 9 + [2] * 3
