"""Recorded real payloads behind real sockets on loopback."""

from __future__ import annotations

from ingest.simulator.faults import DEMO, Faults, HttpFault, StreamFault
from ingest.simulator.server import Simulator

__all__ = ["DEMO", "Faults", "HttpFault", "Simulator", "StreamFault"]
