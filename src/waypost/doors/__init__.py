"""What a front door does apart from HTTP: requests read and answers written in a dialect, and kept conversations.

The server does it for callers who wait, a worker process for those who come back later.
"""
