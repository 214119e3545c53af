"""Node configs before their variables have values."""

from typing import Any

import pytest
from pydantic import ValidationError

from planasonix_orchestrator.nodes.base import NodeConfig
from planasonix_orchestrator.nodes.transforms.join import JoinConfig
from planasonix_orchestrator.nodes.transforms.sample import SampleConfig
from planasonix_orchestrator.nodes.transforms.select import SelectConfig
from planasonix_orchestrator.nodes.transforms.summarize import SummarizeConfig


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (JoinConfig, {"kind": "{{ kind }}", "keys": [{"left": "{{ key }}"}]}),
        (SampleConfig, {"rate": "{{ rate }}"}),
        (SelectConfig, {"columns": [{"name": "a", "type": "{{ type }}"}]}),
    ],
)
def test_a_template_may_stand_for_any_single_value(model: type[NodeConfig], values: dict[str, Any]) -> None:
    """What a variable may make right is not refused before the run; in the run it is."""
    assert model.with_templates(values)
    with pytest.raises(ValidationError):
        model.model_validate(values | {"unknown": 1})


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (SelectConfig, {"columns": "{{ columns }}"}),
        (SelectConfig, {"columns": ["{{ column }}"]}),
        (SummarizeConfig, {"groupBy": "{{ columns }}"}),
        (SummarizeConfig, {"aggregations": ["{{ aggregation }}"]}),
        (JoinConfig, {"keys": [{"left": "k"}], "suffixes": "{{ suffixes }}"}),
    ],
)
def test_a_template_never_stands_for_a_list_or_an_object(model: type[NodeConfig], values: dict[str, Any]) -> None:
    """A variable's value is text, a number or a truth value: it can't become right."""
    with pytest.raises(ValidationError):
        model.with_templates(values)
