"""How to ask: one module a provider."""
