"""Whether this process is about to stop, which its server tells nobody while answers are still under way."""

import signal


def server_is_stopping() -> bool:
    """Tell whether the server has been told to stop, and now waits for open streams to end.

    uvicorn has no other sign for that: its lifespan ends only after the last answer has, and a stream that follows a
    run would never. It handles the signals itself, so that the handler leads to the server.
    """
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return bool(getattr(server, "should_exit", False))
