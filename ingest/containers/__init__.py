"""Files as they lie, and how they are cut into messages."""
