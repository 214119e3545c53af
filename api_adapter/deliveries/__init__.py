"""The resource of outbound webhooks: whom we tell of runs, what was sent, and sending it again."""
