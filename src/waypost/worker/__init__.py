"""The worker process: does durable jobs beside or apart from the servers. It imports nothing of theirs."""
