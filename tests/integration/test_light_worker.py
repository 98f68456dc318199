"""A whole worker whose LVLM is on a model server: from the message to the row, and while the server is away."""

import json

import pytest
from sqlalchemy import select

from schema.tables import job, metadata, model_version, prediction
from tests.chat_server import MODEL, Server, answered, choice
from tests.support import wait_for, write_pictures
from worker.assemble import assemble, load_models

pytestmark = pytest.mark.models

KEY = "sk-Secret0123456789"
SAID = ("<think>", "A tower.", "</think><answer>", "country: France\ncity: Paris", "</answer>", "<|im_end|>")
COUNT = 12


@pytest.fixture
def settings_of(line, tiny_models):
    def of(server, **more):
        return line.settings.model_copy(
            update={
                "engine": "openai",
                "model_server": server.url,
                "model_server_key": KEY,
                "model_server_timeout_s": 30.0,
                "model": MODEL,
                "clip": str(tiny_models[1]),
                "gate_threshold": 0.0,
                "threads": 4,
            }
            | more
        )

    return of


@pytest.mark.parametrize("broker_url", ["pgmq"], indirect=True)
def test_photographs_are_answered_by_the_server_and_wait_while_it_is_away(line, settings_of, tmp_path):
    paths = write_pictures(tmp_path / "pictures", COUNT)
    trouble = [(500, {"error": "restarting"})] * 5  # as many as open the circuit

    def reply(body):
        return trouble.pop() if trouble else answered(choice(*SAID))

    with Server(reply, key=KEY) as server:
        settings = settings_of(server, retry_backoff_s=0.1)
        with (
            load_models(settings, line.database) as models,
            assemble(settings, line.database, models, dispatch=True) as worker,
        ):
            worker.runner.start()
            line.enqueue(paths)
            assert line.wait_until_settled(COUNT) == {"done": COUNT}
            worker.runner.stop(drain_s=30)
            made_by = worker.versions.model_version_id
    rows = line.jobs().values()
    assert sum(row.attempts for row in rows) == COUNT + 5, "no attempt but those that met a 500"
    with line.database.engine.connect() as connection:
        cities = connection.execute(select(prediction.c.city, prediction.c.model_version_id)).all()
        version = connection.execute(select(model_version).where(model_version.c.id == made_by)).one()
        stored = [connection.execute(select(table)).all() for table in metadata.sorted_tables]
    assert {tuple(row) for row in cities} == {("Paris", made_by)}
    assert (version.kind, version.name) == ("lvlm", MODEL)
    assert KEY not in json.dumps(stored, default=repr)


@pytest.mark.parametrize("broker_url", ["pgmq"], indirect=True)
def test_a_server_that_is_gone_burns_no_attempt_and_is_asked_again_when_it_is_back(line, settings_of, tmp_path):
    def first(body):
        pictures = any(part["type"] == "image_url" for part in body["messages"][-1]["content"])
        return *answered(prompt_tokens=90 if pictures else 9), {"Connection": "close"}

    def reply(body):
        return answered(choice(*SAID))

    with Server(reply, key=KEY) as server:
        server.first = first
        settings = settings_of(server)
        loaded = load_models(settings, line.database)
        models = loaded.__enter__()
    try:
        with assemble(settings, line.database, models, dispatch=True) as worker:
            worker.runner.start()
            line.enqueue(write_pictures(tmp_path / "pictures", 2))

            def put_off():
                with line.database.engine.connect() as connection:
                    return connection.execute(select(job).where(job.c.reason == "model_error")).all()

            waiting = wait_for(put_off, "a photograph that is put off")
            assert {(row.state, row.attempts) for row in waiting} == {("queued", 0)}
            with Server(reply, key=KEY, port=server.port):
                assert line.wait_until_settled(2) == {"done": 2}
                worker.runner.stop(drain_s=30)
    finally:
        loaded.__exit__(None, None, None)
    assert {row.attempts for row in line.jobs().values()} == {1}
