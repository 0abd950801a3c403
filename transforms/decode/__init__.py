"""How to read what providers send: one module a provider."""
