"""The hostile corpora, and that they would notice what they look for."""

import os
from pathlib import Path

import pytest

from benchmarks.hostile import paths, urls
from benchmarks.hostile.addresses import FORMS, REBINDING, REDIRECTS, SPELLINGS
from benchmarks.hostile.dns import NameServer, Resolver
from benchmarks.hostile.watch import Watch
from worker.errors import Transient
from worker.intake.fetch import Fetcher, FetchLimits


@pytest.fixture(autouse=True)
def no_other_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTP_PROXY", "http_proxy", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def test_no_address_of_the_corpus_leads_where_it_must_not() -> None:
    figures, faults = urls.measure()
    assert faults == []
    assert (figures["wrong_connections"], figures["url_crashes"]) == (0, 0)
    assert figures["urls"] >= 250


def test_no_path_of_the_corpus_brings_what_lies_outside() -> None:
    before = dict(os.environ)
    figures, faults = paths.measure(race_s=1.0)
    assert faults == []
    assert (figures["escapes"], figures["path_crashes"]) == (0, 0)
    assert figures["paths"] >= 150
    assert figures["keys"] >= 40
    assert figures["race_reads"] > 100
    assert dict(os.environ) == before


@pytest.mark.parametrize("corpus", [SPELLINGS, FORMS, REBINDING, REDIRECTS])
def test_the_corpus_says_nothing_twice(corpus: tuple[object, ...]) -> None:
    assert len(set(corpus)) == len(corpus) >= 20


def test_bytes_from_outside_are_counted_where_nothing_is_forbidden(tmp_path: Path) -> None:
    with paths._tree(tmp_path / "root", tmp_path / "root-outside") as corpus, Fetcher(FetchLimits()) as fetcher:
        found = [paths._read(fetcher, uri) for uri in corpus if "outside/secret.jpg" in uri]
    assert sum(escaped > 0 for escaped, _ in found) >= 20


def test_the_watch_sees_what_lies_elsewhere_and_keeps_it_from_leaving() -> None:
    with Watch() as watch, Fetcher(FetchLimits(allow_private=True)) as fetcher:
        with pytest.raises(Transient):
            fetcher.fetch(f"http://10.0.0.1:{watch.port}/")
        assert watch.forbidden == [("10.0.0.1", watch.port)]
        with watch.expecting(("10.0.0.2", watch.port)), pytest.raises(Transient):
            fetcher.fetch(f"http://10.0.0.2:{watch.port}/")
        assert watch.wrong_connections == 1


def test_the_name_server_answers_another_address_each_time() -> None:
    names = {"a.test": (("1.1.1.1",), ("127.0.0.1", "::1"))}
    with NameServer(names) as server:
        resolver = Resolver(server.address)
        answers = [[str(each) for each in resolver("a.test", 80)] for _ in range(3)]
        assert answers == [["1.1.1.1"], ["127.0.0.1", "::1"], ["127.0.0.1", "::1"]]
        with pytest.raises(Transient):
            resolver("b.test", 80)
        assert [str(each) for each in resolver("0x7f.1", 80)] == ["127.0.0.1"]
