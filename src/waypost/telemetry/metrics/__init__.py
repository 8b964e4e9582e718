"""Numbers for Prometheus: counted in plain dictionaries while requests are served, put into its form when asked for.

A request costs a few look-ups; prometheus_client is imported with the first scrape. The invariant: the number of series
depends on the settings, never on what callers send.
"""
