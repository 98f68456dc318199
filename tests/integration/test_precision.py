"""What a precision cap hides, tried by a login that may only read; and who may see through it.

Long because every view is asked about the same capped photographs.
"""

import random
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import errors
from psycopg.rows import dict_row
from sqlalchemy.engine import make_url

from worker.commands.collection import command
from worker.place.sphere import distance_km

LAT, LON = 47.0707123, 15.4395456
SECRETS = ("Herrengasse", "Graz", "Styria", "47.07", "15.43", "2778067")
"""Words and figures that tell the place of the capped photograph more finely than 150 km."""

FILL = """
    INSERT INTO collection (name) VALUES ('open'), ('shelters');
    INSERT INTO model_version (kind, name, version) VALUES ('lvlm', 'm', '1');
    INSERT INTO calibration (model_version_id, version, coverage, parameters) VALUES (1, 'c', 0.9, '{}');
    INSERT INTO image (sha256, format, width_px, height_px, size_bytes, caption, metadata_notes, embedding,
                       embedding_model_id)
    SELECT repeat(c, 64), 'JPEG', 4, 3, 9, 'Herrengasse 5, Graz', '["GPS 47.07"]', '[47.07, 15.43]', 1
    FROM unnest(ARRAY['a', 'b', 'd']) AS c;
    INSERT INTO label (image_id, source, lat, lon, accuracy_m, country_code, region, city, geoname_id, author,
           note)
    VALUES (1, 'manual', 47.0707123, 15.4395456, 12, 'AT', 'Styria', 'Graz', 2778067, 'anna', 'Herrengasse');
    INSERT INTO prediction (image_id, status, reason, detail, lat, lon, radius_km, granularity, country_code,
           region,
                            city, geoname_id, stated_place, alternatives, suggestions, notes, difficulty,
                            model_version_id, gate_version_id, pipeline_version, request_hash, prompt_hash,
                                   sampling,
                            gazetteer_version, code_version)
    SELECT i.id, CASE WHEN i.id = 3 THEN 'not_locatable' ELSE 'located' END, 'too_uncertain', 'Graz has 40 %',
           CASE WHEN i.id < 3 THEN 47.0707123 END, CASE WHEN i.id < 3 THEN 15.4395456 END, 10, 'city', 'AT',
                  'Styria',
           'Graz', 2778067, 'Herrengasse, Graz', '[{"place": "Graz", "lat": 47.07}]',
           jsonb_build_array(jsonb_build_object('source', 'series', 'lat', 47.0707123, 'lon', 15.4395456,
               'city', 'Graz', 'region', 'Styria', 'country_code', 'AT', 'geoname_id', 2778067, 'from_image_id', 1,
               'from_sha256', repeat('a', 64))),
           '["Graz"]', '{"place": "Graz"}', 1, 1, 'p', 'r' || i.id, 'h', '{}', 'g', 'c'
    FROM image i;
    INSERT INTO trace (prediction_id, reasoning, answer, cues, samples, injected_text)
    SELECT id, 'A sign reads Herrengasse.', 'Graz', '[{"text": "Herrengasse", "supported": null}]',
           '[{"answer": "Graz", "lat": 47.07}]', '["answer Graz"]' FROM prediction;
    INSERT INTO job (id, collection_id, uri, hints, state, outcome, image_id, prediction_id)
    SELECT gen_random_uuid(), 2, 'file:///archive/' || i.id, '{"text": "Graz", "region": "Styria"}', 'done',
           CASE WHEN i.id = 3 THEN 'not_locatable' ELSE 'located' END, i.id, i.id
    FROM image i;
    INSERT INTO job (id, collection_id, uri, hints, state, reason, detail)
    VALUES (gen_random_uuid(), 2, 'file:///archive/4', '{"region": "Styria"}', 'failed', 'unknown_region',
           'Styria?');
    INSERT INTO curation (hash, labels_until, parameters, labels_in, train, held_out, dropped)
    VALUES ('h', 1, '{}', 1, 1, 0, '{}');
    INSERT INTO curation_member (curation_id, image_id, side, sha256, label_id, source, lat, lon, country_code,
           region,
                                 city, geoname_id, cell, uri)
    VALUES (1, 1, 'train', repeat('a', 64), 1, 'manual', 47.0707123, 15.4395456, 'AT', 'Styria', 'Graz', 2778067,
            '47.07:15.43', 'file:///archive/1');
"""


@dataclass
class Archive:
    owner: psycopg.Connection
    url: str

    def cap(self, collection, precision_km):
        self.owner.execute("UPDATE collection SET precision_km = %s WHERE name = %s", [precision_km, collection])

    def login(self, name, *roles):
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"DROP ROLE IF EXISTS {name}")
            connection.execute(f"CREATE ROLE {name} LOGIN IN ROLE {', '.join(roles)}")
        url = make_url(self.url).set(username=name)
        return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)


@pytest.fixture
def archive(database):
    with psycopg.connect(database.url, autocommit=True) as owner:
        owner.execute(FILL)
        yield Archive(owner, database.url)


@pytest.fixture
def reader(archive):
    archive.cap("shelters", 150)
    with archive.login("anna_reads", "globetag_reader") as connection:
        yield connection


def one(connection, statement, *parameters):
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement, parameters or None).fetchone()


# --- the grid ---


@pytest.mark.parametrize("precision_km", [0.1, 1, 25, 150, 750, 5000])
def test_a_cell_holds_its_points_and_is_as_wide_as_asked(database, precision_km):
    generator = random.Random(6)
    points = [(generator.uniform(-90, 90), generator.uniform(-180, 180)) for _ in range(1500)]
    points += [
        (90.0, 0.0),
        (-90.0, 180.0),
        (0.0, 180.0),
        (0.0, -180.0),
        (0.0, 0.0),
        (89.9999, 179.9999),
        (-0.0001, -0.0001),
    ]
    with psycopg.connect(database.url) as connection:
        cells = connection.execute(
            "SELECT precision_cell(lat, lon, %s) FROM unnest(%s::float8[], %s::float8[]) WITH ORDINALITY"
            " AS p(lat, lon, n) ORDER BY n",
            [precision_km, [lat for lat, _ in points], [lon for _, lon in points]],
        ).fetchall()
        again = connection.execute(
            "SELECT precision_cell(lat, lon, %s) FROM unnest(%s::float8[], %s::float8[]) WITH ORDINALITY"
            " AS p(lat, lon, n) ORDER BY n",
            [precision_km, [cell[0][0] for cell in cells], [cell[0][1] for cell in cells]],
        ).fetchall()
    for (lat, lon), ([middle_lat, middle_lon, reach_km],) in zip(points, cells, strict=True):
        assert distance_km(lat, lon, middle_lat, middle_lon) <= reach_km * (1 + 1e-9) + 1e-6
        assert -90 <= middle_lat <= 90
        assert -180 <= middle_lon <= 180
        assert precision_km / 2 <= reach_km
        # One cell never tells more than another: at most its half diagonal, but for the wide ones at the poles.
        if abs(lat) < 60 and precision_km <= 150:
            assert reach_km <= precision_km * 0.75
    for (before,), (after,) in zip(cells, again, strict=True):
        assert after == pytest.approx(before)


def test_photographs_of_one_spot_average_to_the_cell_and_not_to_the_spot(database):
    generator = random.Random(7)
    with psycopg.connect(database.url) as connection:
        shown = {
            tuple(
                connection.execute(
                    "SELECT precision_cell(%s, %s, 25)",
                    [LAT + generator.gauss(0, 1e-4), LON + generator.gauss(0, 1e-4)],
                ).fetchone()[0]
            )
            for _ in range(50)
        }
    assert len(shown) == 1


# --- what a reader reaches ---


def readable(connection):
    """Every column that this login may read, by relation."""
    rows = connection.execute("""
        SELECT c.relname, array_agg(a.attname::text) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p') AND a.attnum > 0
          AND NOT a.attisdropped AND has_column_privilege(c.oid, a.attnum, 'SELECT')
        GROUP BY c.relname
    """).fetchall()
    return dict(rows)


def told(connection):
    """All that the readable columns of all relations hold, as one text."""
    text = []
    for relation, columns in readable(connection).items():
        listed = ", ".join(f'"{column}"' for column in columns)
        text += [repr(row) for row in connection.execute(f'SELECT {listed} FROM "{relation}"').fetchall()]
    return "\n".join(text)


def test_without_a_cap_everything_is_told(archive):
    with archive.login("anna_reads", "globetag_reader") as connection:
        everything = told(connection)
    assert [secret for secret in SECRETS if secret not in everything] == []


def test_under_a_cap_no_column_of_any_relation_tells_the_place(reader):
    assert len(readable(reader)) >= 20
    everything = told(reader)
    assert [secret for secret in SECRETS if secret in everything] == []
    assert "'AT'" in everything


def test_the_place_is_a_cell_with_a_radius_that_holds_the_true_one(reader):
    place = one(reader, "SELECT * FROM current_location WHERE sha256 = repeat('a', 64)")
    away_km = distance_km(place["lat"], place["lon"], LAT, LON)
    assert 0.012 + away_km <= place["radius_km"] <= 0.012 + 150
    assert (place["granularity"], place["country_code"], place["region"]) == ("country", "AT", None)
    assert place["precision_km"] == 150


@pytest.mark.parametrize(
    ("precision_km", "names"),
    [
        (10, ("city", "AT", "Styria", "Graz")),
        (100, ("region", "AT", "Styria", None)),
        (750, ("country", "AT", None, None)),
        (5000, (None, None, None, None)),
    ],
)
def test_names_are_no_finer_than_the_cell(archive, precision_km, names):
    archive.cap("shelters", precision_km)
    with archive.login("anna_reads", "globetag_reader") as connection:
        for view in ("current_location", "job_place"):
            row = one(connection, f"SELECT * FROM {view} WHERE sha256 = repeat('b', 64)")
            assert (row["granularity"], row["country_code"], row["region"], row["city"]) == names


@pytest.mark.parametrize(
    "attack",
    [
        "SELECT lat FROM label",
        "SELECT lat, lon FROM prediction",
        "SELECT reasoning FROM trace",
        "SELECT search FROM trace",
        "SELECT hints FROM job",
        "SELECT embedding FROM gallery",
        "SELECT embedding FROM image",
        "SELECT lat FROM curation_member",
        "SELECT * FROM precise_positions(gen_random_uuid())",
        "SELECT request_positions(ARRAY[repeat('a', 64)], 'curiosity')",
        "SELECT * FROM position_read",
        "SELECT * FROM forgotten",
        "UPDATE collection SET precision_km = NULL",
        "SET ROLE globetag_precise",
        "COPY label TO STDOUT",
        "SELECT most_common_vals FROM pg_statistic JOIN pg_class c ON c.oid = starelid WHERE relname = 'label'",
    ],
)
def test_an_attack_on_what_lies_behind_is_refused(reader, attack):
    with pytest.raises((errors.InsufficientPrivilege, errors.UndefinedColumn)):
        reader.execute(attack)


@pytest.mark.parametrize(
    "attack",
    [
        "SELECT * FROM reasoning_trace WHERE CAST(stated_reasons AS integer) = 1",
        "SELECT * FROM reasoning_trace WHERE CAST(CAST(search AS text) AS integer) = 1",
        "SELECT * FROM image_embedding WHERE CAST(CAST(embedding AS text) AS integer) = 1",
        "SELECT * FROM job_place WHERE CAST(caption AS integer) = 1",
        "SELECT * FROM clue WHERE pg_temp.tell(clue)",
        "SELECT * FROM suggestion WHERE pg_temp.tell(city)",
        "SELECT * FROM current_location WHERE pg_temp.tell(lat::text)",
        "SELECT * FROM review_queue WHERE pg_temp.tell(stated_place)",
    ],
)
def test_a_condition_that_betrays_its_argument_has_nothing_to_betray(reader, attack):
    heard = []
    reader.add_notice_handler(lambda notice: heard.append(notice.message_primary))
    reader.execute("""
        CREATE FUNCTION pg_temp.tell(said text) RETURNS boolean COST 0.0000001 LANGUAGE plpgsql
        AS $$ BEGIN RAISE NOTICE 'told %', said; RETURN true; END $$
    """)
    try:
        reader.execute(attack)
    except psycopg.Error as error:
        heard.append(str(error))
    assert [secret for secret in SECRETS for said in heard if secret in said] == []


def test_words_that_are_withheld_are_not_found_and_others_are_by_the_index(archive, reader):
    find = "SELECT count(*) FROM reasoning_trace WHERE search @@ websearch_to_tsquery('simple', 'herrengasse')"
    assert reader.execute(find).fetchone() == (0,)
    archive.cap("shelters", None)
    assert reader.execute(find).fetchone() == (3,)
    reader.execute("SET enable_seqscan = off")
    plan = "\n".join(row[0] for row in reader.execute("EXPLAIN " + find).fetchall())
    assert "ix_trace_search_shown" in plan


# --- when a cap holds ---


def shown_precision(archive):
    rows = archive.owner.execute("SELECT sha256, precision_km FROM image ORDER BY id").fetchall()
    assert archive.owner.execute(
        "SELECT bool_and(t.withheld = (i.precision_km IS NOT NULL)) FROM trace t"
        " JOIN prediction p ON p.id = t.prediction_id JOIN image i ON i.id = p.image_id"
    ).fetchone() == (True,)
    return [cap for _, cap in rows]


def test_the_strictest_collection_counts(archive):
    archive.cap("shelters", 25)
    assert shown_precision(archive) == [25, 25, 25]
    archive.owner.execute(
        "INSERT INTO job (id, collection_id, uri, state, outcome, image_id)"
        " VALUES (gen_random_uuid(), 1, 'file:///other/1', 'done', 'known', 1)"
    )
    assert shown_precision(archive) == [25, 25, 25]
    archive.cap("open", 100)
    assert shown_precision(archive) == [100, 25, 25]
    archive.cap("open", None)
    archive.cap("shelters", None)
    assert shown_precision(archive) == [None, None, None]


def test_what_no_collection_holds_any_more_is_as_coarse_as_the_strictest_asks(archive):
    archive.cap("shelters", 25)
    archive.owner.execute("UPDATE job SET image_id = NULL WHERE image_id = 1")
    archive.owner.execute("DELETE FROM job WHERE image_id = 2")
    assert shown_precision(archive) == [25, 25, 25]
    archive.cap("open", 500)
    assert shown_precision(archive) == [500, 500, 25]


def test_what_comes_in_later_is_capped_in_the_same_transaction(archive):
    archive.cap("open", 25)
    archive.owner.execute(
        "INSERT INTO job (id, collection_id, uri, state, outcome, image_id, prediction_id)"
        " VALUES (gen_random_uuid(), 1, 'file:///other/2', 'done', 'located', 2, 2)"
    )
    assert shown_precision(archive) == [None, 25, None]


def test_a_cap_waits_for_who_is_writing(archive):
    """The job that is being written when the cap is set is capped too, whichever of the two commits first."""
    with psycopg.connect(archive.url) as writer, psycopg.connect(archive.url) as setter:
        writer.execute(
            "INSERT INTO job (id, collection_id, uri, state, outcome, image_id)"
            " VALUES (gen_random_uuid(), 1, 'file:///other/1', 'done', 'known', 1)"
        )
        setter.execute("SET lock_timeout = '200ms'")
        with pytest.raises(errors.LockNotAvailable):
            setter.execute("UPDATE collection SET precision_km = 25 WHERE name = 'open'")
        setter.rollback()
        writer.commit()
        setter.execute("UPDATE collection SET precision_km = 25 WHERE name = 'open'")
        setter.commit()
    assert shown_precision(archive) == [25, None, None]


def test_the_command_sets_tells_and_takes_back(archive, monkeypatch):
    from click.testing import CliRunner

    monkeypatch.setenv("GLOBETAG_DATABASE_URL", archive.url)

    def said(*arguments):
        return CliRunner().invoke(command, ["shelters", *arguments], catch_exceptions=False).output.strip()

    assert said("--precision-km", "25") == "shelters: anywhere, any radius, shown to 25 km"
    assert said("--max-radius-km", "200") == "shelters: anywhere, radius up to 200 km, shown to 25 km"
    assert shown_precision(archive) == [25, 25, 25]
    assert said("--full-precision") == "shelters: anywhere, radius up to 200 km"
    assert shown_precision(archive) == [None, None, None]
    assert "contradict" in said("--full-precision", "--precision-km", "1")


# --- who may see through it ---


@pytest.fixture
def precise(reader, archive):
    with archive.login("berta_reads_precisely", "globetag_reader", "globetag_precise") as connection:
        yield connection


def test_a_precise_position_costs_a_row_that_says_who_wanted_it(archive, precise):
    asked = ["a" * 64, "d" * 64, "f" * 64]
    [request] = precise.execute("SELECT request_positions(%s, 'checking a caption')", [asked]).fetchone()
    rows = precise.execute(
        "SELECT sha256, source, lat, lon, city FROM precise_positions(%s)", [request]
    ).fetchall()
    assert rows == [("a" * 64, "manual", LAT, LON, "Graz")]
    audit = archive.owner.execute("SELECT sha256, read_by, purpose FROM position_read ORDER BY sha256").fetchall()
    assert audit == [(each, "berta_reads_precisely", "checking a caption") for each in ("a" * 64, "d" * 64)]


def test_the_row_cannot_be_taken_back(archive, precise):
    """One transaction that asks, reads and rolls back would leave no trace: so it is not answered."""
    with pytest.raises(errors.InsufficientPrivilege, match="committed"), precise.transaction():
        [request] = precise.execute(
            "SELECT request_positions(ARRAY[repeat('a', 64)], 'none of your business')"
        ).fetchone()
        precise.execute("SAVEPOINT one")
        precise.execute("SELECT * FROM precise_positions(%s)", [request])
    assert archive.owner.execute("SELECT count(*) FROM position_read").fetchone() == (0,)


def test_requests_are_answered_to_who_made_them_for_an_hour(archive, precise):
    [request] = precise.execute("SELECT request_positions(ARRAY[repeat('a', 64)], 'for berta')").fetchone()
    other = archive.login("carl_reads_precisely", "globetag_precise")
    with other, pytest.raises(errors.InsufficientPrivilege):
        other.execute("SELECT * FROM precise_positions(%s)", [request])
    archive.owner.execute("UPDATE position_read SET read_at = now() - interval '61 minutes'")
    with pytest.raises(errors.InsufficientPrivilege):
        precise.execute("SELECT * FROM precise_positions(%s)", [request])


def test_a_purpose_must_be_said_and_the_record_cannot_be_changed(precise):
    for purpose in (None, "", "    .    "):
        with pytest.raises(errors.InvalidParameterValue):
            precise.execute("SELECT request_positions(ARRAY[repeat('a', 64)], %s)", [purpose])
    for statement in ("DELETE FROM position_read", "UPDATE position_read SET purpose = 'another one'"):
        with pytest.raises(errors.InsufficientPrivilege):
            precise.execute(statement)
    with pytest.raises(errors.InsufficientPrivilege):
        precise.execute("SELECT lat FROM label")
