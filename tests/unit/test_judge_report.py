"""What is printed, written and drawn; and the command that does it."""

import csv
import io
import json
import math
import random
import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner
from rich.console import Console

from trainer.commands.evaluate import command
from trainer.judge.as_json import evaluation_to_json
from trainer.judge.columns import make_columns
from trainer.judge.compare import compare
from trainer.judge.distance import Distance
from trainer.judge.matching import match
from trainer.judge.metrics import evaluate
from trainer.judge.plots import accuracy_plot, error_map, wilson
from trainer.judge.records import Outcome, Prediction, Truth
from trainer.judge.report import write_report
from trainer.judge.table import render_evaluation
from worker.errors import SetupError
from worker.place.gazetteer import Gazetteer

HOSTILE = '<script>alert(1)</script>" [bold]x[/bold] \x1b[31m'
CITIES = [
    ("France", "Paris", 48.853, 2.349),
    ("Kenya", "Nairobi", -1.283, 36.817),
    ("Fiji", "Suva", -18.14, 178.44),
]


@pytest.fixture(scope="module")
def gazetteer():
    return Gazetteer.load()


def write_files(folder, n=60, *, seed=0):
    """A truth and two predictions files, the second better than the first."""
    rng = random.Random(seed)
    truths, weak, strong = [], [], []
    for number in range(n):
        country, city, lat, lon = CITIES[number % 3]
        truths.append({"id": f"{number}.jpg", "lat": lat, "lon": lon, "country": country, "city": city,
                       "photographer": f"p{number % 9}", "placeable": ["city", "none"][number % 2],
                       "bayes_country": 0.75, "bayes_city25": 0.5, "true_cues": "red roof"})  # fmt: skip
        for rows, chance in ((weak, 0.3), (strong, 0.9)):
            country, city, lat, lon = CITIES[number % 3 if rng.random() < chance else rng.randrange(3)]
            rows.append({"id": f"{number}.jpg", "lat": lat, "lon": lon, "country": country, "city": city,
                         "radius_km": rng.choice([10, 100, 1000]), "coverage": 0.9,
                         "confidence": round(rng.random(), 2), "stated_cues": "red roof; camel"})  # fmt: skip
    paths = []
    for name, rows in (("truth.csv", truths), ("weak.csv", weak), ("strong.csv", strong)):
        paths.append(folder / name)
        with paths[-1].open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return [str(path) for path in paths]


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments], env={"COLUMNS": "160"})


class Tags(HTMLParser):
    """Checks that every tag is closed, and collects tags, attributes and text."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, page):
        super().__init__()
        self.open, self.seen, self.text = [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_command_prints_and_writes_the_same_figures(tmp_path):
    truth, weak, strong = write_files(tmp_path)
    done = run("--predictions", weak, "--truth", truth, "--compare", strong, "--json", tmp_path / "out" / "f.json",
               "--html", tmp_path / "out" / "f.html", "--bootstrap", 100)  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out" / "f.json").read_text())
    assert found["n"] == 60 == sum(found["outcomes"].values())
    figure = found["figures"]["within_25_km"]
    line = f"within 25 km +{100 * figure['value']:.1f} % .*{figure['hits']} of 60"
    assert re.search(line, done.output)
    assert f"{figure['hits']} of 60" in (tmp_path / "out" / "f.html").read_text()
    assert "limit of the world: country" in done.output
    assert "refused where nothing can be told" in done.output
    assert found["figures"]["bayes_city25"]["value"] == 0.5
    assert found["figures"]["bayes_city25"]["hits"] is None
    difference = found["comparison"]["differences"]["within_25_km"]
    assert difference["value"] < 0
    assert difference["is_clear"]
    assert found["distance"] == "haversine, sphere of 6371 km, distance ≤ threshold"
    assert found["cues"]["invented"]["value"] == 1.0
    assert not list((tmp_path / "out").glob("*.part"))


def test_formula_radius_and_comparison_are_stated(tmp_path):
    truth, weak, _ = write_files(tmp_path)
    done = run("--predictions", weak, "--truth", truth, "--formula", "geodesic", "--comparison", "lt")
    assert "geodesic, WGS 84 ellipsoid, distance < threshold" in done.output
    done = run("--predictions", weak, "--truth", truth, "--radius-km", "6378.137", "--bootstrap", 0)
    assert "haversine, sphere of 6378.14 km" in done.output
    assert "no intervals" in done.output


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--truth", "t"],
        ["--predictions", "p"],
        ["--truth", "t", "--database"],
        ["--truth", "t", "--predictions", "p", "--model", "m"],
        ["--benchmark", "im2gps3k", "--predictions", "p"],
        ["--truth", "t", "--model", "m"],
        ["--truth", "t", "--predictions", "p", "--save", "s"],
        ["--truth", "t", "--predictions", "p", "--collection", "c"],
        ["--database", "--predictions", "p"],
    ],
    ids=" ".join,
)
def test_unclear_requests_are_wrong_usage(arguments):
    assert run(*arguments).exit_code == 2


def test_a_wrong_denominator_is_refused(tmp_path):
    truth, weak, _ = write_files(tmp_path)
    done = run("--predictions", weak, "--truth", truth, "--expect-n", 61)
    assert isinstance(done.exception, SetupError)
    assert "60 rows, and 61 are expected (1 missing)" in str(done.exception)
    assert run("--predictions", weak, "--truth", truth, "--expect-n", 60).exit_code == 0


def test_a_benchmark_is_judged_from_its_folder(tmp_path):
    _, weak, _ = write_files(tmp_path)
    with (tmp_path / "gws15k.csv").open("w") as file:
        file.write(
            "IMG_ID,LAT,LON\n" + "".join(f"{n}.jpg,{CITIES[n % 3][2]},{CITIES[n % 3][3]}\n" for n in range(80))
        )
    given = ("--benchmark", "gws15k", "--folder", tmp_path, "--predictions", weak, "--bootstrap", 0)
    assert "80 rows, and 15,000 are expected" in str(run(*given).exception)
    done = run(*given, "--expect-n", 80)
    assert done.exit_code == 0
    assert re.search(r"20 +missing: nothing was said", done.output)
    assert "80 of the 15,000 images of GWS15k" in done.output


def hostile_run(gazetteer):
    truths = [Truth(f"{n}", 48.85, 2.35, country=HOSTILE, city=HOSTILE, photographer=HOSTILE) for n in range(30)]
    said = [
        Prediction(f"{n}", Outcome.LOCATED, lat=-18.1, lon=178.4, country=HOSTILE, city=HOSTILE, raw=HOSTILE)
        for n in range(25)
    ]
    return match(HOSTILE, truths, said, source=HOSTILE)


def test_the_page_is_whole_escaped_and_asks_nobody(tmp_path, gazetteer):
    columns = make_columns(hostile_run(gazetteer), Distance(), gazetteer)
    evaluation = evaluate(columns, replicates=20)
    comparison = compare(columns, columns, replicates=20)
    path = tmp_path / "r.html"
    write_report(path, columns, evaluation, made_at=datetime.now(UTC), other=columns, comparison=comparison)
    page = path.read_text()
    found = Tags(page)
    names = {tag for tag, _ in found.seen}
    assert "script" not in names
    assert {"svg", "table", "figure"} <= names
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert any("<script>alert(1)</script>" in text for text in found.text)
    for _, attributes in found.seen:
        assert not any(name.startswith("on") or name in ("src", "href", "style") for name in attributes)
    assert "NaN" not in page
    assert "inf" not in re.sub(r"info\w*|infi\w*", "", " ".join(found.text))


def test_the_terminal_shows_names_as_text(gazetteer):
    evaluation = evaluate(make_columns(hostile_run(gazetteer), Distance(), gazetteer), replicates=0)
    console = Console(width=200, file=io.StringIO())
    console.print(render_evaluation(evaluation))
    shown = console.file.getvalue()
    assert "[bold]x[/bold]" in shown
    assert "\x1b" not in shown


def test_json_holds_no_number_that_json_has_not(gazetteer):
    truths = [Truth(str(n), 48.85, 2.35) for n in range(3)]
    for said in ([], [Prediction("0", Outcome.LOCATED, lat=48.85, lon=2.35)]):
        evaluation = evaluate(make_columns(match("r", truths, said, source="t"), Distance(), gazetteer))
        text = json.dumps(evaluation_to_json(evaluation), allow_nan=False)
        assert json.loads(text)["figures"]["median_km_all"]["value"] is None


def test_the_accuracy_curve_ends_at_the_answer_rate(gazetteer):
    columns = make_columns(hostile_run(gazetteer), Distance(), gazetteer)
    [line] = accuracy_plot([columns]).lines
    heights = [float(point.split()[1]) for point in line.path[1:].split("L")]
    assert heights == sorted(heights, reverse=True)
    full, none = (240.0 - 228.0 * share for share in (25 / 30, 0))
    assert heights[-1] == pytest.approx(full, abs=0.1)
    assert heights[0] == none


def test_the_map_shows_every_image_or_says_how_many(gazetteer):
    errors, images = error_map(make_columns(hostile_run(gazetteer), Distance(), gazetteer))
    assert len(errors) == images == 30
    assert sum(error.path is None for error in errors) == 5


@pytest.mark.parametrize(("hits", "of"), [(0, 5), (5, 5), (3, 10), (500, 1000)])
def test_wilson_solves_its_equation(hits, of):
    """Its ends are the shares p at which hits / of lies 1.96 standard errors of p away."""
    for end in wilson(hits, of):
        assert abs(hits / of - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / of), abs=1e-9)
