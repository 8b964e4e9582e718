"""The ledger: who may spend what, and what was spent. Keys, prices, budgets, limits, journal, log, stored responses.

What the request path needs is in memory or one append to the journal; everything in the database is done in threads.
The invariant: every call to a provider is in the journal before it is made, and in the database exactly once.
"""
