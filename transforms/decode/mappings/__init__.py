"""Mappings of known CSV layouts, one TOML file each; its first lines say what it is for, `version` counts its changes."""
