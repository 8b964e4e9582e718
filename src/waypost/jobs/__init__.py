"""Durable jobs: work that is accepted at once, done later by a worker process, and never lost."""
