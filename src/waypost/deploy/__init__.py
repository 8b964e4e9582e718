"""Puts a version of Waypost where it serves, and takes it back: on hosts over SSH, or on a cluster by Helm.

It stands beside the server and knows it as an administrator does: by its commands and over HTTP. On a host every step
is a short shell script that `--dry-run` shows. The invariant: until the last check has passed the version before serves
on, or can be switched back to without being started; whatever fails, the record on the host says how it ended.
"""
