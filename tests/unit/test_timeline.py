"""What a timeline says of spans, and that its plot shows them."""

from xml.etree import ElementTree

import pytest

from benchmarks.timeline.plot import page, svg, window
from benchmarks.timeline.spans import Span, covered_s, mean_in, overlapped_share


def photograph(number, start_s):
    """A second of decoding, two of generation."""
    return [
        Span(number, "decode", start_s, start_s + 1),
        Span(number, "reason", start_s + 1, start_s + 3),
    ]


ONE_AFTER_ANOTHER = [*photograph(0, 0), *photograph(1, 3), *photograph(2, 6)]
SIDE_BY_SIDE = [*photograph(0, 0), *photograph(1, 1), *photograph(2, 2)]


def test_time_is_covered_once_however_many_spans_cover_it():
    assert covered_s(span for span in ONE_AFTER_ANOTHER if span.stage == "reason") == 6
    assert covered_s(span for span in SIDE_BY_SIDE if span.stage == "reason") == 4
    assert covered_s([Span(0, "reason", 0, 9), Span(1, "reason", 2, 3), Span(2, "reason", 8, 10)]) == 10
    assert covered_s([]) == 0


def test_the_mean_number_in_a_stage_follows_littles_law():
    assert mean_in(SIDE_BY_SIDE, "reason", 5.0) == pytest.approx(6 / 5)


def test_nothing_is_hidden_where_photographs_go_one_after_another():
    assert overlapped_share(ONE_AFTER_ANOTHER, "reason", {"decode"}) == 0
    # The first has nobody before it, the two others decode while another is answered.
    assert overlapped_share(SIDE_BY_SIDE, "reason", {"decode"}) == pytest.approx(2 / 3)
    assert overlapped_share([], "reason", {"decode"}) == 0


def test_the_window_is_of_whole_photographs_from_the_middle():
    spans = [span for number in range(10) for span in photograph(number, number)]
    chosen = window(spans, 4)
    assert {span.number for span in chosen} == {3, 4, 5, 6}
    assert len(chosen) == 8
    assert window(spans, 100) == spans


def test_the_plot_has_a_bar_for_each_span_inside_its_frame():
    drawing = ElementTree.fromstring(svg(SIDE_BY_SIDE))
    bars = [bar for bar in drawing.iter("{http://www.w3.org/2000/svg}rect") if len(bar)]
    assert len(bars) == len(SIDE_BY_SIDE)
    assert all(float(bar.get("x")) >= 0 and float(bar.get("x")) + float(bar.get("width")) <= 960 for bar in bars)
    assert len({bar.get("y") for bar in bars}) == 3


def test_the_page_escapes_and_asks_for_nothing():
    text = page(SIDE_BY_SIDE, {"peak_mb": 1.5, "bare": None}, "<script>")
    assert "&lt;script&gt;" in text and "<script" not in text
    assert "default-src 'none'" in text and "http://www.w3.org/2000/svg" in text
    assert "not measured" in text
