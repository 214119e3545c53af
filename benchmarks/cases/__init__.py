"""The list of cases; one file each."""

from benchmarks.cases.fused_pipeline import FUSED_PIPELINE
from benchmarks.frame import Cases

CASES = Cases((FUSED_PIPELINE,))
