"""What is told of this program while it runs: facts of what has ended, numbers for a scrape, lines of the log.

The invariant: whoever is told decides nothing. What goes wrong here harms no request and no job.
"""
