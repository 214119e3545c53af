"""webhooks.yaml is loaded and checked beside the pipelines of its folder, and its page leaves out no key."""

import re
from pathlib import Path

import pytest

from planasonix_orchestrator.graph.beside import LoadedWebhooks, load_webhooks
from planasonix_orchestrator.graph.loading import load_document, load_files, load_folder
from planasonix_orchestrator.graph.schema import webhooks_schema

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "webhooks-out.md").read_text(encoding="utf-8")
PIPELINE = "{id: pl_a, name: a, nodes: [{id: n, type: t}]}"
RIGHT = """
endpoints:
  ops: {url: "https://example.com/x", secret: {env: A}}
  few: {url: {env: U}, secret: {env: A}, events: [run.late], pipelines: [pl_a], headers: {X-A: b, Cookie: {env: C}}}
  near: {url: "http://127.0.0.1:9/x", secret: {env: A}, previousSecret: {env: B}, enabled: false}
"""


def written(folder: Path, text: str) -> Path:
    (folder / "a.yaml").write_text(PIPELINE)
    (folder / "webhooks.yaml").write_text(text)
    return folder


def told(folder: Path) -> list[tuple[str, str]]:
    """Code and path of each problem of the file."""
    problems = [each for each in load_folder(folder).problems if str(each.file).endswith("webhooks.yaml")]
    return [(each.code, each.path) for each in problems]


def test_what_is_right_is_loaded(tmp_path: Path) -> None:
    """Endpoints by id, with their defaults, and it is no pipeline; without the file there are none."""
    assert load_webhooks(tmp_path) == LoadedWebhooks()
    folder = load_folder(written(tmp_path, RIGHT))
    assert (folder.problems, len(folder.pipelines)) == ((), 1)
    endpoints = load_webhooks(tmp_path).document.endpoints
    assert list(endpoints) == ["ops", "few", "near"]
    assert endpoints["ops"].enabled
    assert len(endpoints["ops"].events) == 5


@pytest.mark.parametrize(
    ("endpoint", "code", "path"),
    [
        ('url: "http://example.com"', "invalid_value", ".url"),
        ('url: "ftp://example.com"', "invalid_value", ".url"),
        ('url: "https://"', "invalid_value", ".url"),
        ('url: "https://example.com:x"', "invalid_value", ".url"),
        ('url: "https://example.com/#a"', "invalid_value", ".url"),
        ('url: "https://user:s3cret@example.com"', "plain_secret", ".url"),
        ('url: "https://example.com?token=s3cret"', "plain_secret", ".url"),
        ("secret: s3cret", "plain_secret", ".secret"),
        ("secret: null", "plain_secret", ".secret"),
        ("events: []", "invalid_value", ".events"),
        ("events: [run.ended]", "invalid_value", ".events[0]"),
        ("pipelines: [pl_b]", "unknown_pipeline", ".pipelines[0]"),
        ("headers: {Authorization: Bearer s3cret}", "plain_secret", ".headers.Authorization"),
        ("headers: {X-Api-Key: s3cret}", "plain_secret", "['headers']['X-Api-Key']"),
        ("headers: {Webhook-Id: a}", "invalid_value", ".headers.Webhook-Id"),
        ("headers: {'a b': c}", "invalid_value", ".headers['a b']"),
        ('headers: {X-A: "b\\nc"}', "invalid_value", ".headers.X-A"),
        ("retries: 3", "unknown_field", ".retries"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, endpoint: str, code: str, path: str) -> None:
    """Each with its code and place, without repeating a secret; the other endpoint is loaded all the same."""
    given = {"url": 'url: "https://example.com"', "secret": "secret: {env: A}"}
    given[endpoint.partition(":")[0]] = endpoint
    text = f"endpoints:\n  bad: {{{', '.join(given.values())}}}\n  good: {{url: {{env: U}}, secret: {{env: A}}}}\n"
    folder = written(tmp_path, text)
    assert told(folder) == [(code, f"$.endpoints.bad{path}".replace("['headers']['X-Api-Key']", ".headers.X-Api-Key"))]
    assert "s3cret" not in str(load_folder(folder).problems)
    found = load_webhooks(folder)
    assert "good" in found.document.endpoints
    assert found.readable
    assert found.faulty == (() if code == "unknown_pipeline" else ("bad",))


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """Of the file as a whole too, in which case nobody knows which endpoints there are."""
    folder = written(tmp_path, "endpoints: {a: {url: 7}, b: {secret: x}}\nendpoint: {}\n")
    assert {code for code, _ in told(folder)} == {"invalid_value", "missing_field", "plain_secret", "unknown_field"}
    assert not load_webhooks(folder).readable
    assert not load_webhooks(written(tmp_path, "endpoints: [")).readable


def test_pipelines_are_known_only_of_a_whole_folder(tmp_path: Path) -> None:
    """Who validates one file, or has one that can't be read, is not told that the others do not exist."""
    folder = written(tmp_path, RIGHT.replace("pl_a", "pl_b"))
    assert [code for code, _ in told(folder)] == ["unknown_pipeline"]
    assert load_files([folder / "a.yaml"], beside=folder).problems == ()
    (folder / "b.yaml").write_text("{")
    assert told(folder) == []


def test_a_run_is_not_hindered_by_it(tmp_path: Path) -> None:
    """What a worker loads of its document knows nothing of endpoints."""
    written(tmp_path, "nonsense")
    document = {"id": "pl_a", "name": "a", "nodes": [{"id": "n", "type": "t"}]}
    assert load_document(document, folder=tmp_path).problems == ()


def test_the_page_leaves_out_no_key_and_its_example_loads(tmp_path: Path) -> None:
    """Whatever the file may say, the page names it."""
    schema = webhooks_schema()
    keys = {key for part in schema["$defs"].values() for key in part["properties"]} - {"env"}
    assert {key for key in keys if f"`{key}`" not in PAGE} == set()
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    (tmp_path / "webhooks.yaml").write_text(example)
    assert load_webhooks(tmp_path).problems == ()
