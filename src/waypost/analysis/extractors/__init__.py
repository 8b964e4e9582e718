"""From the bytes of a document to its text, one module a type. Those that parse run in a child process only."""
