"""What an analysis is: what is asked about a content, in which parts, and what comes of the answers.

Not here: jobs, HTTP, databases. Each step is JSON in and JSON out without state of its own, so that a durable engine
may keep what it gave and never run it again. The content is data: no word of it changes what is asked or the form of
the answer.
"""
