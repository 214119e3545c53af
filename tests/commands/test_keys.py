"""`planasonix keys` and `planasonix audit`: what they print, keep and refuse."""

import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from api_adapter.commands.surroundings import os_user
from api_adapter.records import AuditEvent, open_records
from api_adapter.records.secret import is_secret, prefix_of
from planasonix_orchestrator.cli import main
from planasonix_orchestrator.runtime.state import StackRecord, locked, write_record


@pytest.fixture(autouse=True)
def _database(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANASONIX_POSTGRES_URL", postgres_url)


def planasonix(*arguments: str, code: int = 0) -> Result:
    """What a command prints; it must end with this exit code."""
    answer = CliRunner().invoke(main, arguments)
    assert answer.exit_code == code, answer.output
    return answer


def create(name: str = "nightly", *arguments: str) -> str:
    """The secret of a new key."""
    return planasonix("keys", "create", name, "--scope", "pipelines:read", *arguments).stdout.strip()


def listed() -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = json.loads(planasonix("keys", "list", "--json").stdout)
    return keys


def accepted(postgres_url: str, secret: str, *, at: datetime | None = None) -> bool:
    with open_records(postgres_url) as records:
        key = records.keys.find(prefix_of(secret))
        return key is not None and key.accepts(secret, at=at or datetime.now(UTC))


def test_a_new_key_is_printed_once_and_alone(postgres_url: str) -> None:
    """Stdout has the secret and nothing else, so that `$(...)` takes it; stderr says what it is."""
    answer = planasonix("keys", "create", "nightly", "--scope", "pipelines:read", "--scope", "pipelines:run")
    secret = answer.stdout.strip()
    assert is_secret(secret)
    assert secret not in answer.stderr
    assert "not shown again" in answer.stderr
    assert accepted(postgres_url, secret)
    (key,) = listed()
    assert secret not in json.dumps(listed())
    assert (key["name"], key["scopes"], key["pipelines"]) == ("nightly", ["pipelines:read", "pipelines:run"], None)
    assert (key["state"], key["expiresAt"], key["lastUsedAt"]) == ("active", None, None)


def test_a_key_may_expire_and_be_limited(postgres_url: str) -> None:
    """`--expires-in` and `--pipeline` do what they say."""
    secret = create("limited", "--pipeline", "pl_b", "--pipeline", "pl_a", "--expires-in", "90d")
    now = datetime.now(UTC)
    assert accepted(postgres_url, secret, at=now + timedelta(days=89))
    assert not accepted(postgres_url, secret, at=now + timedelta(days=90, minutes=1))
    assert listed()[0]["pipelines"] == ["pl_a", "pl_b"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["create", "x"], "--scope"),
        (["create", "x", "--scope", "everything"], "pipelines:read"),
        (["create", "", "--scope", "pipelines:read"], "NAME"),
        (["create", "a\x1b[2Jb", "--scope", "pipelines:read"], "NAME"),
        (["create", "x" * 101, "--scope", "pipelines:read"], "NAME"),
        (["create", "x", "--scope", "pipelines:read", "--expires-in", "soon"], "90d, 24h or 30m"),
        (["create", "x", "--scope", "pipelines:read", "--expires-in", "0s"], "too short"),
        (["create", "x", "--scope", "pipelines:read", "--expires-in", "999999w"], "too long"),
        (["create", "x", "--scope", "pipelines:read", "--pipeline", ""], "printable"),
        (["create", "x", "--scope", "pipelines:read", "--pipeline", "\udcff"], "printable"),
        (["rotate", "x", "--grace", "-1h"], "90d, 24h or 30m"),
        (["rotate", "x", "--grace", "999999w"], "too long"),
        (["revoke", "\udcff"], "printable"),
        (["list", "--all"], "--all"),
    ],
)
def test_wrong_usage_is_told(arguments: list[str], told: str) -> None:
    """Exit code 2, and the words that are right; nothing is made."""
    answer = planasonix("keys", *arguments, code=2)
    assert told in answer.stderr
    assert listed() == []


def test_json_has_the_key_too() -> None:
    """`create --json` and `rotate --json` print one object with the secret in `key`."""
    made = json.loads(planasonix("keys", "create", "x", "--scope", "admin:organization", "--json").stdout)
    assert is_secret(made["key"])
    assert made["key"].startswith(made["prefix"])
    rotated = json.loads(planasonix("keys", "rotate", made["id"], "--grace", "1h", "--json").stdout)
    assert rotated["id"] == made["id"]
    assert rotated["key"] != made["key"]
    assert rotated["previousUntil"] is not None


def test_rotation_gives_another_secret(postgres_url: str) -> None:
    """With grace the former secret works on for so long; without, it is refused at once."""
    first = create()
    key_id = listed()[0]["id"]
    answer = planasonix("keys", "rotate", key_id, "--grace", "24h")
    second = answer.stdout.strip()
    assert "works until" in answer.stderr
    assert [accepted(postgres_url, secret) for secret in (first, second)] == [True, True]
    third = planasonix("keys", "rotate", key_id).stdout.strip()
    assert [accepted(postgres_url, secret) for secret in (first, second, third)] == [False, False, True]
    assert len(listed()) == 1


def test_revoked_keys_stay_listed(postgres_url: str) -> None:
    """A revoked key opens nothing, can't be rotated, and is still there to be seen; again changes nothing."""
    secret = create()
    key_id = listed()[0]["id"]
    assert key_id in planasonix("keys", "revoke", key_id).stdout
    assert not accepted(postgres_url, secret)
    revoked_at = listed()[0]["revokedAt"]
    planasonix("keys", "revoke", key_id)
    assert (listed()[0]["state"], listed()[0]["revokedAt"]) == ("revoked", revoked_at)
    assert "create another" in planasonix("keys", "rotate", key_id, code=1).stderr


@pytest.mark.parametrize("command", ["rotate", "revoke"])
def test_an_unknown_key_is_told(command: str) -> None:
    """Exit code 1, and the command that shows which there are."""
    assert "planasonix keys list" in planasonix("keys", command, "key_none", code=1).stderr


def test_in_a_pipe_lists_are_plain() -> None:
    """One line per key, its cells separated by tabs, without a head."""
    create("a name")
    (line,) = planasonix("keys", "list").stdout.splitlines()
    cells = line.split("\t")
    assert cells[1] == "a name"
    assert cells[-3:] == ["never", "never", "active"]


def test_on_a_terminal_lists_are_tables(postgres_url: str) -> None:
    """A head, and columns that are aligned."""
    create("nightly")
    shown = on_terminal("keys", "list")
    assert "NAME" in shown
    assert "nightly" in shown
    assert "\t" not in shown
    assert "key.create" in on_terminal("audit")


def on_terminal(*arguments: str) -> str:
    """What a command prints where its output is a terminal, a wide one."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "api_adapter", *arguments]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env={**os.environ, "COLUMNS": "250"}) as process:
        os.close(theirs)
        printed = b""
        while chunk := _read(ours):
            printed += chunk
    os.close(ours)
    assert process.returncode == 0, printed
    return printed.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux's way to say that the other end is closed
        return b""


def test_what_is_done_here_is_on_record() -> None:
    """The trail has the user of the machine, the action, the key and the result, refusals too."""
    create("nightly", "--pipeline", "pl_a")
    key_id = listed()[0]["id"]
    planasonix("keys", "rotate", key_id, "--grace", "1h")
    planasonix("keys", "revoke", key_id)
    planasonix("keys", "revoke", "key_none", code=1)
    events = json.loads(planasonix("audit", "--json").stdout)
    assert [(event["action"], event["resource"], event["status"]) for event in events] == [
        ("key.revoke", "key_none", 404),
        ("key.revoke", key_id, 200),
        ("key.rotate", key_id, 200),
        ("key.create", key_id, 201),
    ]
    assert {(event["actor"]["kind"], event["actor"]["id"]) for event in events} == {("cli", os_user())}
    assert events[3]["detail"]["name"] == "nightly"
    assert events[3]["detail"]["pipelines"] == ["pl_a"]
    assert events[2]["detail"]["graceSeconds"] == 3600


def test_the_trail_is_filtered() -> None:
    """By time, actor, action, resource; at most so many."""
    create()
    key_id = listed()[0]["id"]
    planasonix("keys", "revoke", key_id)

    def actions(*arguments: str) -> list[str]:
        return [line.split("\t")[2] for line in planasonix("audit", *arguments).stdout.splitlines()]

    everything = ["key.revoke", "key.create"]
    assert actions() == actions("--since", "1h") == actions("--actor", os_user()) == everything
    assert actions("--action", "key") == actions("--resource", key_id) == actions("--since", "2020-01-01") == everything
    assert actions("--action", "key.create") == ["key.create"]
    assert actions("--limit", "1") == ["key.revoke"]
    assert actions("--until", "1h") == actions("--actor", "nobody") == actions("--action", "run") == []
    assert "neither a time" in planasonix("audit", "--since", "sometime", code=2).stderr
    assert "too long" in planasonix("audit", "--since", "999999w", code=2).stderr


def test_what_callers_have_sent_commands_no_terminal(postgres_url: str) -> None:
    """The trail holds what stood in paths as it was; lists show escape sequences, and obey none."""
    with open_records(postgres_url) as records:
        records.audit.begin(
            AuditEvent(
                at=datetime.now(UTC),
                actor_kind="key",
                actor_id="key_1",
                actor_name="ada",
                action="run.cancel",
                resource="\x1b[2Jx\x9by\nforged",
            )
        )
    for told in (planasonix("audit").stdout, on_terminal("audit")):
        assert "\\x1b[2Jx\\x9by forged" in told
        assert "\x1b[2J" not in told


def test_a_database_that_is_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1, the reason, and what to do; no password and no stack trace."""
    monkeypatch.setenv("PLANASONIX_POSTGRES_URL", "postgresql://me:s3cret@127.0.0.1:1/none")
    for arguments in (["keys", "list"], ["keys", "create", "x", "--scope", "pipelines:read"], ["audit"]):
        answer = planasonix(*arguments, code=1)
        assert "planasonix up" in answer.stderr
        assert "s3cret" not in answer.output
        assert "Traceback" not in answer.output


def test_without_a_database_the_running_stack_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--state` names it; where none runs, the error says how to start one."""
    monkeypatch.setenv("PLANASONIX_STATE", str(tmp_path / "none"))
    for arguments in (["--state", str(tmp_path / "none")], []):
        if not arguments:
            monkeypatch.delenv("PLANASONIX_POSTGRES_URL")
        assert "planasonix up" in planasonix("keys", "list", *arguments, code=1).output


def test_the_stack_that_was_named_goes_before_the_environment(tmp_path: Path) -> None:
    """The embedded server of `--state` is asked, not that of the environment: here, it is not there."""
    with locked(tmp_path):
        write_record(
            tmp_path, record=StackRecord(pipelines="/p", api_url="http://[::1]", code_server_port=1, embedded=True)
        )
        answer = planasonix("keys", "list", "--state", str(tmp_path), code=1)
    assert "can't be reached" in answer.stderr


def test_the_module_is_the_same_command() -> None:
    """`python -m api_adapter keys` works where the environment names the database, and says so if not."""
    command = [sys.executable, "-m", "api_adapter", "keys", "create", "x", "--scope", "pipelines:read"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert is_secret(done.stdout.strip())
    environment = {name: value for name, value in os.environ.items() if name != "PLANASONIX_POSTGRES_URL"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert "PLANASONIX_POSTGRES_URL" in done.stderr
