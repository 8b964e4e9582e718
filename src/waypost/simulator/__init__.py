"""A provider that is not one: answers in the providers' own wire formats, on real sockets, and fails as asked."""

from waypost.simulator.faults import (
    CutAfter,
    EndAfter,
    ErrorAfter,
    Fault,
    MalformedAfter,
    ResetBeforeHeaders,
    Silence,
    StallAfter,
    StatusFault,
)
from waypost.simulator.ledger import SeenRequest
from waypost.simulator.loading import load_script, script_from
from waypost.simulator.script import (
    Delivery,
    Match,
    Pacing,
    Reply,
    Rule,
    Script,
    ScriptedCall,
    UsageOverride,
)
from waypost.simulator.server import Simulator, serve

__all__ = [
    "CutAfter",
    "Delivery",
    "EndAfter",
    "ErrorAfter",
    "Fault",
    "MalformedAfter",
    "Match",
    "Pacing",
    "Reply",
    "ResetBeforeHeaders",
    "Rule",
    "Script",
    "ScriptedCall",
    "SeenRequest",
    "Silence",
    "Simulator",
    "StallAfter",
    "StatusFault",
    "UsageOverride",
    "load_script",
    "script_from",
    "serve",
]
