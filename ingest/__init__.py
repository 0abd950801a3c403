"""Asking providers: sessions, transports, capture, landing, imports, the simulator."""
