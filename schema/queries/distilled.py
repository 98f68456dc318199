"""What came of distillations, for those who read it: the data set, the report, the trainer's periodic run."""

from sqlalchemy import text

# The kept samples of a distillation (:id), of each photograph the chosen one or (:all) each, with the rights that
# an archive's photograph has today. `said`: what came of every teacher that was asked about the photograph.
KEPT_SAMPLES = text("""
    SELECT s.sha256, s.teacher, s.chosen, s.reasoning, s.answer, s.measures, d.uri, d.lat, d.lon, d.country_code,
           d.country, d.region, d.city, d.geoname_id, d.grouped_by, d.licence, d.label_id, a.model, a.prompt_hash,
           i.data_mining,
           d.image_id IS NULL OR coalesce((
               SELECT bool_and(c.training_consent) FROM job j JOIN collection c ON c.id = j.collection_id
               WHERE j.image_id = d.image_id
           ), false) AS consented,
           (SELECT jsonb_agg(jsonb_build_object(
                       'teacher', o.teacher, 'state', o.state, 'trouble', o.trouble, 'lat', o.lat, 'lon', o.lon,
                       'kept', os.kept, 'dropped_by', os.dropped_by, 'reason', os.reason, 'cues', os.cues
                   ) ORDER BY o.teacher)
            FROM teacher_answer o LEFT JOIN distilled_sample os USING (distillation_id, sha256, teacher)
            WHERE o.distillation_id = s.distillation_id AND o.sha256 = s.sha256) AS said
    FROM distilled_sample s
    JOIN distilled d USING (distillation_id, sha256)
    JOIN teacher_answer a USING (distillation_id, sha256, teacher)
    LEFT JOIN image i ON i.id = d.image_id
    WHERE s.distillation_id = :id AND s.kept AND (s.chosen OR :all)
    ORDER BY s.sha256, s.teacher
""")

# How many of them there are, and of how many photographs.
COUNT_KEPT = text("""
    SELECT count(*) AS samples, count(DISTINCT sha256) AS photographs FROM distilled_sample
    WHERE distillation_id = :id AND kept AND (chosen OR :all)
""")

# How each teacher's samples fared: kept, or by which step they were dropped and why.
FATES_BY_TEACHER = text("""
    SELECT teacher, kept, dropped_by, reason, count(*) AS samples, count(*) FILTER (WHERE chosen) AS chosen
    FROM distilled_sample WHERE distillation_id = :id GROUP BY teacher, kept, dropped_by, reason
    ORDER BY teacher, kept DESC, dropped_by, reason
""")

# How many samples a step could not judge, by the name of the measure that says so ("unjudged_visible").
UNJUDGED = text("""
    SELECT m.key AS measure, count(*) AS samples
    FROM distilled_sample s CROSS JOIN LATERAL jsonb_each(s.measures) AS m(key, value)
    WHERE s.distillation_id = :id AND starts_with(m.key, 'unjudged_') AND m.value = to_jsonb(1.0)
    GROUP BY m.key ORDER BY m.key
""")

# Of each fate (kept, or a reason) so many samples (:kept, :dropped), drawn by chance but always the same.
EXAMPLES = text("""
    SELECT * FROM (
        SELECT s.sha256, s.teacher, s.kept, s.chosen, s.dropped_by, s.reason, s.reasoning, s.answer, s.cues,
               s.measures, d.uri, d.lat, d.lon, d.country, d.region, d.city, a.raw,
               row_number() OVER (PARTITION BY s.kept, s.dropped_by, s.reason
                                  ORDER BY md5(s.sha256 || s.teacher)) AS place
        FROM distilled_sample s
        JOIN distilled d USING (distillation_id, sha256)
        JOIN teacher_answer a USING (distillation_id, sha256, teacher)
        WHERE s.distillation_id = :id
    ) drawn
    WHERE place <= CASE WHEN kept THEN :kept ELSE :dropped END
    ORDER BY kept DESC, dropped_by, reason, place
""")

# What teachers say of at most :limit photographs, drawn by chance but always the same: for their agreement with
# each other. Coordinate teachers have no sample, but a point.
PLACES_SAID = text("""
    SELECT a.sha256, a.teacher, s.answer, a.lat, a.lon
    FROM teacher_answer a
    LEFT JOIN distilled_sample s USING (distillation_id, sha256, teacher)
    WHERE a.distillation_id = :id AND a.state = 'answered'
      AND a.sha256 IN (SELECT sha256 FROM distilled WHERE distillation_id = :id ORDER BY md5(sha256) LIMIT :limit)
    ORDER BY a.sha256, a.teacher
""")

# Examples of answers that are no opinion, :each of every teacher and trouble.
TROUBLES = text("""
    SELECT * FROM (
        SELECT a.sha256, a.teacher, a.trouble, a.detail, a.raw, d.uri,
               row_number() OVER (PARTITION BY a.teacher, a.trouble ORDER BY md5(a.sha256)) AS place
        FROM teacher_answer a JOIN distilled d USING (distillation_id, sha256)
        WHERE a.distillation_id = :id AND a.state = 'troubled'
    ) drawn WHERE place <= :each ORDER BY teacher, trouble, place
""")

# Of photographs (:sha256) what any distillation has found to be visible, or not: of each the newest one that has
# looked. A photograph without a row has not been looked at.
CUES_SEEN = text("""
    SELECT sha256, distillation_id, jsonb_agg(cue) AS cues
    FROM (
        SELECT DISTINCT s.sha256, s.distillation_id, e.cue
        FROM distilled_sample s CROSS JOIN LATERAL jsonb_array_elements(s.cues) AS e(cue)
        WHERE s.sha256 = ANY(CAST(:sha256 AS text[]))
          AND s.distillation_id = (
              SELECT max(n.distillation_id) FROM distilled_sample n
              WHERE n.sha256 = s.sha256 AND jsonb_array_length(n.cues) > 0
          )
    ) seen
    GROUP BY sha256, distillation_id ORDER BY sha256
""")

# Of photographs (:sha256) those that another distillation than :own has had answers about, and is done with.
ASKED_BEFORE = text("""
    SELECT DISTINCT p.sha256 FROM distilled p JOIN distillation d ON d.id = p.distillation_id
    WHERE p.sha256 = ANY(CAST(:sha256 AS text[])) AND p.state = 'done' AND d.name <> :own
""")
