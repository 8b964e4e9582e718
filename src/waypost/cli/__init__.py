"""The command `waypost`: one command or group of commands a file, each loaded only when it runs."""
