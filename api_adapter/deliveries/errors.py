"""What can be wrong with a request about outbound webhooks."""

from api_adapter.errors import ApiError, Detail


class EndpointNotFoundError(ApiError):
    """No endpoint of webhooks.yaml has this id."""

    status = 404
    code = "webhook_endpoint_not_found"

    def __init__(self, endpoint_id: str) -> None:
        super().__init__(f"There is no endpoint {endpoint_id!r}. GET /api/webhooks/endpoints lists the endpoints.")


class DeliveryNotFoundError(ApiError):
    """No delivery has this id."""

    status = 404
    code = "webhook_delivery_not_found"

    def __init__(self, delivery_id: str) -> None:
        super().__init__(f"There is no delivery {delivery_id!r}. GET /api/webhooks/deliveries lists the deliveries.")


class EndpointUnusableError(ApiError):
    """Nothing can be sent to an endpoint as it is; `details` say why."""

    status = 409
    code = "webhook_endpoint_unusable"

    def __init__(self, endpoint_id: str, *, why: str) -> None:
        super().__init__(f"Nothing can be sent to endpoint {endpoint_id!r}: {why}.", details=[Detail("endpoint", why)])
