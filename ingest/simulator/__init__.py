"""Providers on loopback, replaying recorded real payloads."""
