"""The front doors: each vendor's own paths, bodies, errors and streams, all of them answered by the one gateway."""
