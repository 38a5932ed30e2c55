"""A record as a notebook leaves it, of a page without figures and tables."""

WHOLE = {
    "completed": True,
    "parameters": {},
    "inputs": {},
    "data": None,
    "commit": None,
    "started": "2026-11-30T12:00:00+00:00",
    "torch": "2.15.0",
    "seconds": 1.0,
    "hardware": {"cpu": "A CPU", "cores": 2, "gpu": None},
    "figures": [],
    "tables": {},
    "values": {},
}
