"""Values are checked against the types that variables declare."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planasonix_orchestrator.contract.values import VariableType, VariableValueError, parse_value

VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=5)


@pytest.mark.parametrize(
    ("type_name", "value", "parsed"),
    [
        ("string", "a", "a"),
        ("integer", 5, 5),
        ("integer", " -5", -5),
        ("number", "1.5e3", 1500.0),
        ("number", "7", 7),
        ("boolean", "True", True),
        ("boolean", False, False),
        ("date", "2013-01-31", "2013-01-31"),
        ("timestamp", "2013-01-31T06:00:00Z", "2013-01-31T06:00:00Z"),
        ("timestamp", "2013-01-31 06:00", "2013-01-31 06:00"),
        ("date", None, None),
    ],
)
def test_values_of_a_type(type_name: VariableType, value: object, parsed: object) -> None:
    """A value comes back in the form that its type has in JSON."""
    result = parse_value(value, type_name=type_name)
    assert result == parsed
    assert type(result) is type(parsed)


@pytest.mark.parametrize(
    ("type_name", "value"),
    [
        ("string", 5),
        ("integer", 5.0),
        ("integer", True),
        ("integer", "5.0"),
        ("integer", "\u0665"),
        ("number", "nan"),
        ("number", float("inf")),
        ("number", "1e999"),
        ("boolean", 1),
        ("boolean", "yes"),
        ("date", "2013-02-30"),
        ("date", "20130131"),
        ("timestamp", "2013-01-31"),
        ("timestamp", "2013-01-31T25:00:00Z"),
        ("date", 20130131),
    ],
)
def test_values_of_another_type_are_refused(type_name: VariableType, value: object) -> None:
    """The error shows the value and says what is expected."""
    with pytest.raises(VariableValueError, match=r"is not (a|true) ?"):
        parse_value(value, type_name=type_name)


@given(VALUES, st.sampled_from(["string", "integer", "number", "boolean", "date", "timestamp"]))
def test_a_parsed_value_stays_as_it_is(value: object, type_name: VariableType) -> None:
    """To check a value twice changes nothing."""
    try:
        parsed = parse_value(value, type_name=type_name)
    except VariableValueError:
        return
    assert parse_value(parsed, type_name=type_name) == parsed
