"""What holds for every request, each rule in its own module. Their order is in `front`, and in `waypost.server.api`."""
