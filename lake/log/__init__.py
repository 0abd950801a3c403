"""The log: raw blocks between capture and landing."""
