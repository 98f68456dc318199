"""The prose against the code: what is named in one is in the other. And the rules that the repository promises."""

import itertools
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import click
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from schema import messages
from schema.reasons import JobState, LabelSource, MessageReason, Reason, Status
from schema.session import views_sql
from schema.tables import metadata
from worker import exit_codes
from worker.cli import cli
from worker.export import FORMATS
from worker.settings import PREFIX, Settings, describe, load

ROOT = Path(__file__).parents[2]
PROSE = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "SECURITY.md", "PRIVACY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/messages").glob("*.md")),
]
README = (ROOT / "README.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
SQL = (ROOT / "docs/sql.md").read_text(encoding="utf-8")
ALL_PROSE = "\n".join(path.read_text(encoding="utf-8") for path in PROSE)

SETTINGS = {name for name, _ in describe()}
TEST_VARIABLES = {"GLOBETAG_TEST_AMQP_URL", "GLOBETAG_TEST_STRICT"}
COMMANDS = cli.list_commands(click.Context(cli))
VIEWS = re.findall(r"CREATE OR REPLACE VIEW (\w+)", views_sql())
QUEUES = [
    messages.LOCATE_QUEUE,
    messages.LOCATE_QUEUE + messages.DEAD_SUFFIX,
    messages.INTERACTIVE_QUEUE,
    messages.INGRESS_QUEUE,
    messages.INGRESS_QUEUE + messages.DEAD_SUFFIX,
    messages.TRAIN_QUEUE,
    messages.TRAIN_QUEUE + messages.DEAD_SUFFIX,
]
TARGETS = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
EXIT_CODES = [value for name, value in vars(exit_codes).items() if name.isupper()]


def test_these_lists_are_not_empty():
    """What finds nothing proves nothing."""
    assert len(PROSE) >= 7
    assert len(COMMANDS) >= 12
    assert len(VIEWS) >= 8
    assert len(TARGETS) >= 7
    assert len(EXIT_CODES) >= 5


def _default(value: object) -> str:
    return "unset" if value in (None, ()) else f"`{value}`"


@pytest.mark.parametrize("field", Settings.model_fields)
def test_settings_page_has_each_setting_as_it_is(field):
    about = Settings.model_fields[field]
    line = f"| `{PREFIX}{field.upper()}` | {_default(about.default)} | {about.description} |"
    assert line in (ROOT / "docs/settings.md").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    "path", [*PROSE, ROOT / "Dockerfile", ROOT / "compose.yaml", ROOT / ".env.example"], ids=str
)
def test_only_settings_that_exist_are_named(path):
    named = set(re.findall(rf"\b{PREFIX}[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8")))
    assert named <= SETTINGS | TEST_VARIABLES


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_named(command):
    assert re.search(rf"globetag (-v )?{command}\b", README + OPERATIONS)


def test_only_commands_that_exist_are_named():
    code = re.findall(r"`([^`\n]+)`", ALL_PROSE) + re.findall(r"```sh\n(.*?)```", ALL_PROSE, re.DOTALL)
    named = set(itertools.chain.from_iterable(re.findall(r"\bglobetag ([a-z]+)\b", text) for text in code))
    assert named - {"run"} <= set(COMMANDS)
    assert "enqueue" in named


@pytest.mark.parametrize("view", VIEWS)
def test_each_view_is_described(view):
    assert f"| `{view}` |" in SQL


@pytest.mark.parametrize("table", metadata.tables)
def test_each_table_is_described(table):
    assert re.search(rf"^\| [^|]*`{table}`", SQL, re.MULTILINE)


@pytest.mark.parametrize("queue", QUEUES)
def test_each_queue_is_described(queue):
    assert re.search(rf"^\| [^|]*`{re.escape(queue)}`", OPERATIONS, re.MULTILINE)


def test_the_task_and_its_fields_are_described():
    assert messages.LOCATE_TASK in README
    for field in [*messages.LocateRequest.model_fields, *messages.Hints.model_fields]:
        assert f"`{field}`" in README


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_is_described(reason):
    assert f"| `{reason}` | {reason.sentence} |" in OPERATIONS


@pytest.mark.parametrize("reason", MessageReason)
def test_each_reason_of_a_message_is_described(reason):
    assert f"| `{reason}` | {reason.sentence} |" in OPERATIONS


@pytest.mark.parametrize("words", [JobState, Status, LabelSource])
def test_each_closed_list_is_told(words):
    assert all(re.search(rf"\b{word}\b", SQL) for word in words)


@pytest.mark.parametrize("target", TARGETS)
def test_each_make_target_is_named(target):
    assert f"make {target}" in ALL_PROSE


def test_only_make_targets_that_exist_are_named():
    assert set(re.findall(r"`make ([a-z]+)", ALL_PROSE)) <= set(TARGETS)


@pytest.mark.parametrize("code", EXIT_CODES)
def test_each_exit_code_is_explained(code):
    assert f"| {code} |" in README


@pytest.mark.parametrize("format_", FORMATS)
def test_each_export_format_is_named(format_):
    assert re.search(rf"--format .*\b{format_}\b", README)


@pytest.mark.parametrize("path", PROSE, ids=str)
def test_links_lead_to_files(path):
    for target in re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (path.parent / target).exists(), target


# ---------------------------------------------------------------- what the repository promises of itself


def test_the_import_rules_hold():
    lint_imports = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [lint_imports, "--no-cache"], check=False, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "module",
    [
        "worker.pipeline",
        "worker.cli",
        "worker.commands.enqueue",
        "schema.queries",
        "worker.reason.engines.choose",
        "worker.reason.engines.openai",
    ],
)
def test_no_model_library_is_loaded_by(module):
    heavy = {"torch", "torchvision", "transformers", "open_clip", "vllm", "trl"}
    program = f"import sys, {module}; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


@pytest.mark.parametrize("package", ["schema", "worker", "atlas"])
def test_nobody_else_installs_our_packages(package):
    """The names are common: a distribution that brings one of them too would shadow ours, or be shadowed."""
    assert set(packages_distributions()[package]) == {"globetag"}


def _pins() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in pins}


def test_every_pin_is_one_exact_version():
    pins = _pins()
    assert len(pins) > 100
    for pin in pins.values():
        [version] = pin.specifier
        assert version.operator in {"==", "==="}
        assert pin.url is None


def test_every_requirement_has_a_pin_that_satisfies_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    required = project["project"]["dependencies"] + project["build-system"]["requires"]
    required += itertools.chain.from_iterable(project["project"]["optional-dependencies"].values())
    pins = _pins()
    for requirement in map(Requirement, required):
        [pinned] = pins[canonicalize_name(requirement.name)].specifier
        assert requirement.specifier.contains(pinned.version), requirement


def test_compose_gives_no_secret_a_default():
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{(\w*PASSWORD\w*)(..)", text)) == {
        ("POSTGRES_PASSWORD", ":?"),
        ("RABBITMQ_PASSWORD", ":?"),
    }
    assert (
        re.findall(r"^\w*(?:PASSWORD|TOKEN)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE) == [""] * 3
    )


def test_compose_keeps_database_and_broker_inside():
    composed = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    assert composed["networks"]["inner"]["internal"] is True
    for name in ("postgres", "rabbitmq"):
        service = composed["services"][name]
        assert service["networks"] == ["inner"]
        assert "ports" not in service
        assert "healthcheck" in service


def test_compose_lets_light_workers_ask_the_model_server_that_it_starts():
    services = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    server, light = services["model"], services["worker-light"]
    found, _ = load({name: str(value) for name, value in light["environment"].items() if "${" not in str(value)})
    port = next(word for word in server["command"] if word.startswith("--port=")).removeprefix("--port=")
    assert (found.engine, found.model_server) == ("openai", f"http://model:{port}/v1")
    assert server["command"][0] == light["environment"]["GLOBETAG_MODEL"]
    assert server["environment"]["VLLM_API_KEY"] == light["environment"]["GLOBETAG_MODEL_SERVER_KEY"]
    assert set(server["profiles"]) == set(light["profiles"])
    assert light["depends_on"]["model"] == {"condition": "service_healthy"}
    assert "ports" not in server
    assert "deploy" in server
    assert "deploy" not in light


def test_compose_runs_commands_that_exist():
    services = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    ours = {name: service for name, service in services.items() if service["image"].startswith("globetag:")}
    assert set(ours) == {"migrate", "dispatch", "ingress", "worker", "worker-light", "serve"}
    for service in ours.values():
        command, *arguments = service["command"]
        assert command in COMMANDS
        found = cli.get_command(click.Context(cli), command)
        assert found is not None
        found.make_context(command, arguments)  # parses, and refuses options that do not exist
