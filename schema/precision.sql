-- What a precision cap leaves of a place. Applied before the views, which use it.
--
-- Points go to the middle of a fixed grid cell, never by chance: whoever asks again, or averages over many
-- photographs of one spot, learns no more than the first time (A. Chapman, Current Best Practices for Generalizing
-- Sensitive Species Occurrence Data, GBIF 2020, section on generalization). A name is given where what it names is
-- usually wider than the cell: a city is some 10 km wide, a first-level division some 100, a country some 750.
-- Everything else that could tell more, such as the model's words, is withheld.

-- {latitude, longitude, km}: the middle of the cell that holds a point, and how far the cell reaches from there.
-- Rows are bands of latitude, each cut into equal parts; a cell is at least `precision_km` high, and so wide at its
-- side towards the equator. Degrees and kilometres on a sphere of 6371.0088 km.
CREATE OR REPLACE FUNCTION precision_cell(lat double precision, lon double precision, precision_km double precision)
RETURNS double precision[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    radius_km CONSTANT double precision := 6371.0088;
    step double precision := degrees(precision_km / radius_km);
    height double precision := 180 / greatest(1, floor(180 / step));
    south double precision := -90 + height * least(floor((lat + 90) / height), round(180 / height) - 1);
    north double precision := south + height;
    inner_lat double precision := CASE WHEN south >= 0 THEN south WHEN north <= 0 THEN north ELSE 0 END;
    width double precision := 360 / greatest(1, floor(360 * cos(radians(inner_lat)) / step));
    west double precision := -180 + width * least(floor((lon + 180) / width), round(360 / width) - 1);
    middle double precision := south + height / 2;
    reach_km double precision;
BEGIN
    IF lat IS NULL OR lon IS NULL OR precision_km IS NULL THEN
        RETURN NULL;
    END IF;
    SELECT max(2 * radius_km * asin(least(1, sqrt(
               sin(radians(edge - middle) / 2) ^ 2
               + cos(radians(edge)) * cos(radians(middle)) * sin(radians(width / 2) / 2) ^ 2))))
    INTO reach_km FROM unnest(ARRAY[south, inner_lat, north]) AS edge;
    RETURN ARRAY[middle, west + width / 2, reach_km];
END $$;

CREATE OR REPLACE FUNCTION shown_lat(lat double precision, lon double precision, precision_km double precision)
RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT CASE WHEN precision_km IS NULL THEN lat ELSE (precision_cell(lat, lon, precision_km))[1] END $$;

CREATE OR REPLACE FUNCTION shown_lon(lat double precision, lon double precision, precision_km double precision)
RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT CASE WHEN precision_km IS NULL THEN lon ELSE (precision_cell(lat, lon, precision_km))[2] END $$;

-- So wide that it still holds all that the old one held.
CREATE OR REPLACE FUNCTION shown_radius_km(
    radius_km double precision, lat double precision, lon double precision, precision_km double precision)
RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN precision_km IS NULL THEN radius_km
                ELSE coalesce(radius_km, 0) + (precision_cell(lat, lon, precision_km))[3] END
$$;

-- The finest kind of name that is given under a cap.
CREATE OR REPLACE FUNCTION finest_name(precision_km double precision)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN precision_km IS NULL THEN 'street' WHEN precision_km <= 10 THEN 'city'
                WHEN precision_km <= 100 THEN 'region' WHEN precision_km <= 750 THEN 'country' ELSE 'none' END
$$;

CREATE OR REPLACE FUNCTION shown_city(city text, precision_km double precision)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT CASE WHEN precision_km IS NULL OR precision_km <= 10 THEN city END $$;

CREATE OR REPLACE FUNCTION shown_region(region text, precision_km double precision)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT CASE WHEN precision_km IS NULL OR precision_km <= 100 THEN region END $$;

CREATE OR REPLACE FUNCTION shown_country(country_code text, precision_km double precision)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT CASE WHEN precision_km IS NULL OR precision_km <= 750 THEN country_code END $$;

CREATE OR REPLACE FUNCTION shown_geoname(geoname_id bigint, precision_km double precision)
RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT CASE WHEN precision_km IS NULL OR precision_km <= 10 THEN geoname_id END $$;

-- The coarser of a granularity and what the cap leaves; NULL where not even a country may be named.
CREATE OR REPLACE FUNCTION shown_granularity(granularity text, precision_km double precision)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN precision_km IS NULL OR granularity IS NULL THEN granularity
                ELSE (ARRAY['street', 'city', 'region', 'country', NULL])[greatest(
                    array_position(ARRAY['street', 'city', 'region', 'country'], granularity),
                    array_position(ARRAY['street', 'city', 'region', 'country', 'none'], finest_name(precision_km)))]
           END
$$;

-- What has no coarser form: all or nothing.
CREATE OR REPLACE FUNCTION unless_capped(value anyelement, precision_km double precision)
RETURNS anyelement LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT CASE WHEN precision_km IS NULL THEN value END $$;

-- The particulars of a failure, where they are about the file and not about the place.
CREATE OR REPLACE FUNCTION shown_detail(detail text, reason text, precision_km double precision)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN precision_km IS NULL OR reason IN (
                    'unreachable', 'not_found', 'refused_address', 'forbidden', 'too_large', 'empty', 'not_an_image',
                    'unsupported', 'unreadable', 'model_error', 'timeout', 'worker_lost', 'internal_error',
                    'cancelled', 'forgotten', 'gate_below_threshold')
                THEN detail END
$$;
