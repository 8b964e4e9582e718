"""The smoke test: asks a running server for what its callers ask for, over HTTP alone, and says what works.

It stands beside: it knows nothing of the code that serves, so that it also tries a server of another version, behind
whatever stands in front of it. A check ends in one of three ways: it passed, it failed, or it was skipped for a reason
that the server itself gave.
"""
