"""Plain ASGI middlewares, each one rule. Their order is in `waypost.server.api`."""
