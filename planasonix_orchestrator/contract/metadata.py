"""Metadata keys under which nodes and the code location report to Dagster, and the API reads them back."""

# On the one output of every op; integers but for CPU_SECONDS. Absent where the node has no such figure.
# Each is one of the STEP_OUTPUT's dagster_event.event_specific_data.metadata_entries[*]: `label`, `entry_data.value`.
ROWS_IN = "planasonix/rows_in"
ROWS_OUT = "planasonix/rows_out"
BYTES_READ = "planasonix/bytes_read"  # from outside: file sizes, Arrow bytes of a result set
BYTES_WRITTEN = "planasonix/bytes_written"  # to outside
BYTES_SHUFFLED = "planasonix/bytes_shuffled"  # materialised between nodes
# float: CPU of the run's process, all its threads, while the node worked. While several do, it is divided among them as
# the CPU of their own threads is, so that the sum over the nodes is never more than the process has used.
CPU_SECONDS = "planasonix/cpu_seconds"
PEAK_MEMORY_BYTES = "planasonix/peak_memory_bytes"  # highest resident set of the run's process while the node worked

# On the failure of an op; text, beside CPU_SECONDS and PEAK_MEMORY_BYTES of its last attempt. A STEP_FAILURE's entry
# in the event log, as JSON, has them in dagster_event.event_specific_data.user_failure_data.metadata_entries[*]:
# `label` is the key, `entry_data.text` the value; user_failure_data.description is the node's own message.
# PIPELINE_FAILURE repeats that event, whole, as dagster_event.event_specific_data.first_step_failure_event. Where
# user_failure_data is null, something else than a node's error was raised: a bug, which is a node_error, or the
# interrupt of a canceled run, whose event_specific_data.error_source is {"__enum__": "ErrorSource.INTERRUPT"}.
ERROR_CODE = "planasonix/error_code"  # one of ERROR_CODES
ERROR_NODE = "planasonix/error_node"  # id of the node at fault, where that is another one than the one that failed

NODE_ERROR = "node_error"
RUN_ERROR = "run_error"  # of the run as a whole, before or after its nodes
ERROR_CODES = (NODE_ERROR, RUN_ERROR, "timeout", "out_of_memory", "worker_lost", "policy")

# In the message with which the run host fails a run that it has killed for its memory: Dagster has no reason for that.
MEMORY_WORDS = "of memory, more than a run may have"

# STEP_UP_FOR_RETRY keeps no metadata, only the chain of errors: the code by the class of the failure, which is
# dagster_event.event_specific_data.error.cause.cls_name. Any other class there is a bug's: a node_error.
ERROR_CLASSES = {
    "NodeFailure": "node_error",
    "NodeTimeoutFailure": "timeout",
    "NodeMemoryFailure": "out_of_memory",
    "NodePolicyFailure": "policy",
    "RunTimeoutError": "timeout",  # of the run as a whole: the error of its PIPELINE_FAILURE, where no node tells
}

# On jobs (JSON), and so in the job snapshot of every run: the pipeline document that the job was compiled from, as the
# API has it. The Dagster UI shows it under this name.
DOCUMENT = "document"

# On the repository (JSON), published by the code location each time that it loads.
PIPELINES = "planasonix/pipelines"  # list of PublishedPipeline
PROBLEMS = "planasonix/problems"  # list of problems of documents that did not load
ENVIRONMENTS = "planasonix/environments"  # PublishedEnvironments

# Op config and run resources as they stand in a run's config.
VARIABLES_RESOURCE = "variables"  # run_config["resources"]["variables"]["config"] = {name: value}
PIPELINE_RESOURCE = "pipeline"  # run_config["resources"]["pipeline"]["config"] = {ENVIRONMENT_KEY: id or None}
ENVIRONMENT_KEY = "environment"

REPOSITORY_NAME = "planasonix"
CODE_LOCATION_NAME = "planasonix"
