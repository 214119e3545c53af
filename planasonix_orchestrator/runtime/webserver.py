"""``python -m planasonix_orchestrator.runtime.webserver``: Dagster's webserver, which asks the code server less often.

Each second Dagster's webserver asks whether the code was loaded anew. With us it hears of each reload at once, since it
is asked to do it (`runtime.code_server`); the question is only in case that somebody else has done it.
"""

from dagster._grpc import server_watcher

from planasonix_orchestrator.runtime.code_server import SECONDS_BETWEEN_QUESTIONS


def serve() -> None:
    """Run Dagster's webserver with the arguments of this process."""
    from dagster_webserver.cli import main  # which opens a socket when it is imported

    # Private, and the only way: no setting says it. A test holds the name against the installed Dagster.
    server_watcher.WATCH_INTERVAL = SECONDS_BETWEEN_QUESTIONS
    main()  # type: ignore[no-untyped-call]  # Dagster left it out


if __name__ == "__main__":
    serve()
