"""Row rules, contracts, the gate, promotion and holds."""
