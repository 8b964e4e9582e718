"""Measures Waypost beside its peers: one run, one core, the same load. See docs/guide/performance.md.

Not part of the package, and not tests: nothing here fails a build because a machine is slow.
"""
