"""The first key: kept whole and private, or told why not."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from api_adapter.records.secret import is_secret
from planasonix_orchestrator.runtime.first_key import FirstKeyError, make_first_key
from planasonix_orchestrator.runtime.state import KEY_FILE


@pytest.fixture
def environment(postgres_url: str) -> Mapping[str, str]:
    return {**os.environ, "PLANASONIX_POSTGRES_URL": postgres_url}


@pytest.mark.parametrize("before", ["nothing", "an empty file", "a link that leads nowhere"])
def test_the_key_is_kept_for_its_owner_alone(before: str, tmp_path: Path, environment: Mapping[str, str]) -> None:
    """Whatever umask there is, and wherever a link would lead; what was begun and never ended gives way."""
    file = tmp_path / KEY_FILE
    if before == "an empty file":
        file.touch()
    elif before == "a link that leads nowhere":
        file.symlink_to(tmp_path / "elsewhere")
    umask = os.umask(0)
    try:
        key = make_first_key(tmp_path, environment=environment)
    finally:
        os.umask(umask)
    assert key is not None
    assert is_secret(key)
    assert file.read_text(encoding="ascii") == f"{key}\n"
    assert (stat.S_IMODE(file.stat().st_mode), file.is_symlink()) == (0o600, False)
    assert list(tmp_path.iterdir()) == [file]
    assert make_first_key(tmp_path, environment=environment) is None


def test_a_key_that_can_not_be_made_leaves_nothing(tmp_path: Path, environment: Mapping[str, str]) -> None:
    """The reason is told, without the password of the database, and the next start tries again."""
    away = {**environment, "PLANASONIX_POSTGRES_URL": "postgresql://me:s3cret@127.0.0.1:1/none"}
    with pytest.raises(FirstKeyError, match="can't be reached") as caught:
        make_first_key(tmp_path, environment=away)
    assert "s3cret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_can_not_be_kept_is_not_made(tmp_path: Path, environment: Mapping[str, str]) -> None:
    """The file and the reason are told."""
    with pytest.raises(FirstKeyError, match=f"{KEY_FILE}: No such file"):
        make_first_key(tmp_path / "none", environment=environment)
