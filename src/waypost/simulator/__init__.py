"""A provider that is not one: answers in the providers' own wire formats, on real sockets, and fails as asked."""

from waypost.simulator.credentials import key_hash
from waypost.simulator.faults import (
    CutAfter,
    EndAfter,
    ErrorAfter,
    Fault,
    HugeAfter,
    MalformedAfter,
    NamedError,
    RefusePrefill,
    ReplyLost,
    ResetBeforeHeaders,
    Silence,
    SlowFirstToken,
    StallAfter,
    StatusFault,
    WrongType,
)
from waypost.simulator.ledger import SeenRequest
from waypost.simulator.loading import load_script, script_from
from waypost.simulator.script import (
    BatchRule,
    Delivery,
    Match,
    Pacing,
    Reply,
    Rule,
    Script,
    ScriptedCall,
    UsageOverride,
    Window,
)
from waypost.simulator.server import Simulator, serve
from waypost.simulator.verdict import Verdict

__all__ = [
    "BatchRule",
    "CutAfter",
    "Delivery",
    "EndAfter",
    "ErrorAfter",
    "Fault",
    "HugeAfter",
    "MalformedAfter",
    "Match",
    "NamedError",
    "Pacing",
    "RefusePrefill",
    "Reply",
    "ReplyLost",
    "ResetBeforeHeaders",
    "Rule",
    "Script",
    "ScriptedCall",
    "SeenRequest",
    "Silence",
    "Simulator",
    "SlowFirstToken",
    "StallAfter",
    "StatusFault",
    "UsageOverride",
    "Verdict",
    "Window",
    "WrongType",
    "key_hash",
    "load_script",
    "script_from",
    "serve",
]
