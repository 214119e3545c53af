"""What a trigger can't do, and why a call of a webhook starts nothing."""

from api_adapter.errors import ApiError, Detail


class TriggerNotFoundError(ApiError):
    """No trigger that is loaded has this id."""

    status = 404
    code = "trigger_not_found"

    def __init__(self, trigger_id: str) -> None:
        super().__init__(f"There is no trigger {trigger_id!r}. GET /api/triggers lists the triggers.")


class WebhookNotFoundError(ApiError):
    """No trigger of the kind `webhook` has this id; whether one of another kind has is nobody's business."""

    status = 404
    code = "trigger_not_found"

    def __init__(self, trigger_id: str) -> None:
        super().__init__(f"There is no webhook {trigger_id!r}.")


class TriggerNotLoadedError(ApiError):
    """Dagster has no sensor of the trigger, so that there is nothing to switch."""

    status = 409
    code = "trigger_not_loaded"

    def __init__(self, trigger_id: str) -> None:
        super().__init__(
            f"Trigger {trigger_id!r} has no sensor in Dagster, and can't be switched.",
            details=[Detail("id", "no sensor is loaded")],
        )


class TriggerDisabledError(ApiError):
    """The webhook is switched off."""

    status = 409
    code = "trigger_disabled"

    def __init__(self, trigger_id: str) -> None:
        super().__init__(
            f"Trigger {trigger_id!r} is disabled, and starts nothing until it is enabled.",
            details=[Detail("enabled", "false")],
        )


class SignatureRefusedError(ApiError):
    """A call that is not signed as it must be; `code` says in which way. What was sent is never repeated."""

    status = 401

    def __init__(self, code: str, message: str, *, field: str) -> None:
        super().__init__(
            message, details=[Detail(field, message)], headers={"WWW-Authenticate": 'HMAC-SHA256 realm="planasonix"'}
        )
        self.code = code


class ReplayedError(ApiError):
    """The very same signed call has come before."""

    status = 409
    code = "webhook_replayed"

    def __init__(self) -> None:
        super().__init__(
            "This call was received before, with this very signature. To send an event again, sign it anew and give "
            "it the id that it had.",
            details=[Detail("X-Planasonix-Signature", "was received before")],
        )


class QueueFullError(ApiError):
    """So many runs wait that no further one may."""

    status = 429
    code = "queue_full"

    def __init__(self, *, most: int, seconds: int) -> None:
        super().__init__(
            f"{most} runs or more wait in the queue; nothing is started until there are fewer.",
            headers={"Retry-After": str(seconds)},
        )


class SecretMissingError(ApiError):
    """The service does not have the secret by which calls are checked; its log says which variable it lacks."""

    status = 503
    code = "webhook_not_configured"

    def __init__(self) -> None:
        super().__init__(
            "This webhook is not set up on the service, so that no call can be checked.", headers={"Retry-After": "60"}
        )


class EventConflictError(ApiError):
    """The id of an event stands for an earlier one, which had other values."""

    status = 409
    code = "idempotency_conflict"

    def __init__(self) -> None:
        issue = "an earlier event with this id has started a run with other values"
        super().__init__(f"The event's id: {issue}. No two events may have one id.", details=[Detail("eventId", issue)])
