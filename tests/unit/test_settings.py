"""Settings: where each comes from, what is refused and how it is said, and the file that `choose` writes."""

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import SetupError
from worker.settings import PREFIX, Settings, choose, describe, load

FILE = "settings.env"
NAMES = [name for name, _ in describe()]

blanks = st.text(" \t", max_size=3)
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40).map(str.strip)
lines = st.builds(
    "{}{}{}".format,
    st.sampled_from([*NAMES, PREFIX, "#", ""]),
    st.sampled_from(["=", " = ", ""]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
)
choices = st.dictionaries(st.sampled_from(NAMES), values, max_size=5)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """GLOBETAG_HOME of these tests; it does not exist yet."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def _write(home: Path, *lines: str) -> None:
    home.mkdir(exist_ok=True)
    home.joinpath(FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _at(home: Path, **variables: str) -> dict[str, str]:
    return {"GLOBETAG_HOME": str(home), **{PREFIX + name: text for name, text in variables.items()}}


def test_without_anything_all_is_default():
    settings, origin = load({})
    assert settings == Settings()
    assert set(origin.values()) == {"default"}
    assert set(origin) == set(Settings.model_fields)


def test_default_home_is_in_the_working_folder(tmp_path):
    _write(tmp_path / ".globetag", "GLOBETAG_THREADS=3")
    settings, origin = load({})
    assert (settings.threads, origin["threads"]) == (3, str(Path(".globetag", FILE)))


def test_environment_overrides_file_and_file_overrides_default(home):
    _write(home, "GLOBETAG_THREADS=3", "GLOBETAG_LEASE_S=7.5")
    settings, origin = load(_at(home, THREADS="5"))
    assert (settings.threads, origin["threads"]) == (5, "environment")
    assert (settings.lease_s, origin["lease_s"]) == (7.5, str(home / FILE))
    assert (settings.max_attempts, origin["max_attempts"]) == (3, "default")


@pytest.mark.parametrize(
    "line", ["GLOBETAG_THREADS=", "GLOBETAG_THREADS= ", "# GLOBETAG_THREADS=9", "  # x=1", ""]
)
def test_empty_values_and_comments_set_nothing(home, line):
    _write(home, line)
    settings, origin = load(_at(home, THREADS=""))
    assert (settings.threads, origin["threads"]) == (Settings().threads, "default")


def test_foreign_variables_are_left_alone():
    assert load({"PATH": "/bin", "GLOBETAGS": "x", "globetag_threads": "x"})[0] == Settings()


def test_all_faults_are_told_at_once_with_their_origins(home):
    _write(home, "GLOBETAG_TREADS=4", "GLOBETAG_LEASE_S=-1")
    with pytest.raises(SetupError) as caught:
        load(_at(home, THREADS="none", GATE_THRESHOLD="1.5", DATABSE_URL="x"))
    told = str(caught.value)
    for fault in (
        f"GLOBETAG_TREADS ({home / FILE}) is not a setting",
        "GLOBETAG_DATABSE_URL (environment) is not a setting",
        f"GLOBETAG_LEASE_S='-1' ({home / FILE})",
        "GLOBETAG_THREADS='none' (environment)",
        "GLOBETAG_GATE_THRESHOLD='1.5' (environment)",
    ):
        assert fault in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("THREADS", "0"),
        ("THREADS", "2.5"),
        ("LEASE_S", "0"),
        ("LEASE_S", "nan"),
        ("TEMPERATURE", "-0.1"),
        ("GATE_THRESHOLD", "-0.01"),
        ("ENGINE", "vlm"),
        ("ALLOW_PRIVATE_ADDRESSES", "maybe"),
        ("DATABASE_URL", "mysql://localhost/x"),
        ("DATABASE_URL", "no url"),
        ("BROKER_URL", "redis://localhost"),
    ],
)
def test_wrong_values_are_refused_by_name(name, text):
    with pytest.raises(SetupError, match=f"GLOBETAG_{name}"):
        load({PREFIX + name: text})


@pytest.mark.parametrize(
    ("name", "text"),
    [("DATABASE_URL", "mysql://anna:hunter2@db/x"), ("BROKER_URL", "redis://:hunter2@cache")],
)
def test_passwords_are_not_told(name, text):
    with pytest.raises(SetupError) as caught:
        load({PREFIX + name: text})
    assert "hunter2" not in str(caught.value)


def test_passwords_are_not_in_the_representation():
    settings, _ = load(
        {"GLOBETAG_DATABASE_URL": "postgresql://a:hunter2@db/x", "GLOBETAG_BROKER_URL": "amqp://a:hunter2@mq//"}
    )
    assert "hunter2" not in repr(settings)
    assert not settings.is_embedded


def test_file_roots_are_separated_by_colons():
    assert load({"GLOBETAG_FILE_ROOTS": "/a:/b c::"})[0].file_roots == (Path("/a"), Path("/b c"))


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Settings().threads = 1


def test_every_setting_is_described_in_order():
    assert [PREFIX + field.upper() for field in Settings.model_fields] == NAMES
    assert all(meaning for _, meaning in describe())


def test_a_choice_is_kept_and_others_stay(home):
    assert choose(home, {"GLOBETAG_MODEL": "a", "GLOBETAG_THREADS": "3"}) == home / FILE
    choose(home, {"GLOBETAG_MODEL": "b"})
    settings, origin = load(_at(home))
    assert (settings.model, settings.threads) == ("b", 3)
    assert origin["model"] == str(home / FILE)


@given(first=choices, second=choices)
def test_what_was_chosen_is_read_back(tmp_path_factory, first, second):
    home = tmp_path_factory.mktemp("home")
    choose(home, first)
    choose(home, second)
    lines = home.joinpath(FILE).read_text(encoding="utf-8").splitlines()
    read = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert read == first | second


@given(
    name=st.sampled_from(["MODEL", "CLIP"]), value=values.filter(bool), around=st.tuples(blanks, blanks, blanks)
)
def test_blanks_around_names_and_values_do_not_count(tmp_path_factory, name, value, around):
    home = tmp_path_factory.mktemp("home")
    before, between, after = around
    _write(home, f"{before}GLOBETAG_{name}{between}={between}{value}{after}")
    settings, _ = load(_at(home))
    assert getattr(settings, name.lower()) == value


@given(text=st.lists(lines, max_size=6).map("\n".join))
def test_any_file_is_read_or_refused_in_one_line(tmp_path_factory, text):
    home = tmp_path_factory.mktemp("home")
    _write(home, text)
    try:
        settings, _ = load(_at(home))
    except SetupError as refused:
        assert "\n" not in str(refused)
    else:
        assert settings.home == home


def test_a_reader_never_sees_half_a_file(home):
    """One thread chooses, another reads: each read finds one of the two choices, whole."""
    long = {"GLOBETAG_MODEL": "m" * 5000, "GLOBETAG_CLIP": "c" * 5000}
    short = {"GLOBETAG_MODEL": "m", "GLOBETAG_CLIP": "c"}
    choose(home, short)
    done = threading.Event()

    def write() -> None:
        for _ in range(150):
            choose(home, long)
            choose(home, short)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        settings, _ = load(_at(home))
        seen.add((len(settings.model), len(settings.clip)))
    writer.join()
    assert seen <= {(1, 1), (5000, 5000)}
    assert [path.name for path in home.iterdir()] == [FILE], "drafts are left behind"
