"""The orchestrator's settings."""

from pathlib import Path

import pytest

from planasonix_orchestrator.settings import InvalidSettingError, load_settings


def test_empty_means_unset() -> None:
    """A variable that is set to nothing counts as not set; paths are absolute."""
    settings = load_settings({"PLANASONIX_POSTGRES_URL": "", "PLANASONIX_PIPELINES": "", "PLANASONIX_THREADS": ""})
    assert (settings.postgres_url, settings.threads) == (None, None)
    assert settings.pipelines == Path("pipelines").absolute()
    assert settings.state == Path(".planasonix").absolute()


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5"])
def test_a_number_of_threads_that_is_none_is_refused_by_name(text: str) -> None:
    """The error names the variable, its value and what was expected."""
    with pytest.raises(InvalidSettingError, match=f"PLANASONIX_THREADS is '{text}'; expected"):
        load_settings({"PLANASONIX_THREADS": text})
