"""Spans and metrics for an OpenTelemetry collector, made of facts in a thread of their own.

`names` and `spans` say what is told, as plain values; `pipeline` is the queue and the thread; `sender` alone knows the
OpenTelemetry SDK, and is imported in that thread only.
"""
