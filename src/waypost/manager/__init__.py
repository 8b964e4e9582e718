"""The library face: one service over several providers, for people who want no server."""
