-- Ask Globetag for a photograph: a row of the table submission, as a user that is in globetag_producer.
--
-- psql "postgresql://shop:PASSWORD@postgres.example/globetag" -v ON_ERROR_STOP=1 \
--     -v uri='s3://archive/1931/0042.tif' -v collection='glass negatives' -f submit.sql
--
-- What became of it: SELECT state, detail, job_id, job_state FROM my_submission WHERE id = …;

INSERT INTO submission (uri, collection, hints)
VALUES (:'uri', :'collection', '{"region": "Styria"}')
RETURNING id;
