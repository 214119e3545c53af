"""What every part of a document has in common: the base model, and the types that several parts use."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from planasonix_orchestrator.contract import values

Identifier = Annotated[str, Field(min_length=1, max_length=200)]
PipelineId = Annotated[str, Field(pattern=r"^pl_[A-Za-z0-9_-]+$", max_length=200)]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$", max_length=200)]
VariableValue = values.VariableValue


class DocumentModel(BaseModel):
    """Base of every part of a document: camelCase keys, nothing unknown, frozen."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, strict=True)


class EnvironmentSecret(DocumentModel):
    """``{env: NAME}``: the value is read from the environment when it is needed, and never stands in a file."""

    env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
