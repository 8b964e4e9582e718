"""The embedded local model: known models (catalogue), their files (store) and the child that runs one (process).

It knows nothing of wire formats: whoever talks to the child gets its address and key from `process`. This file
imports nothing, because `python -m waypost.local.child` loads it first.
"""
