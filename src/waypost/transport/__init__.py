"""The HTTP client every provider uses: pooled connections, deadlines, bounded bodies, one table of network errors.

It knows nothing of wire formats, retries or routes. Every failure leaves it as a ProviderError; only CancelledError
passes as it is. Importing it does not import aiohttp, which is loaded when the first request is sent.
"""

from waypost.transport.client import HttpClient
from waypost.transport.deadlines import Deadlines
from waypost.transport.reply import Reply

__all__ = ["Deadlines", "HttpClient", "Reply"]
