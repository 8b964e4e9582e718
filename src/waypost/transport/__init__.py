"""The HTTP client every provider uses: pooled connections, deadlines, bounded bodies, one table of network errors.

It speaks HTTP/1.1 and nothing else, and knows nothing of wire formats, retries or routes. Every failure of the network
leaves it as a ProviderError; CancelledError, and what a caller's own request body raises, pass as they are.
"""

from waypost.transport.client import HttpClient
from waypost.transport.deadlines import Deadlines
from waypost.transport.lookup import Found, Lookup
from waypost.transport.reply import Reply
from waypost.transport.request import Body

__all__ = ["Body", "Deadlines", "Found", "HttpClient", "Lookup", "Reply"]
