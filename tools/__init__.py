"""What the project itself is made with; no part of the package."""
