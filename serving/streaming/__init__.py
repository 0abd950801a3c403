"""The stream of confirmed rows: what was published, in the order of the publication ledger, to whoever subscribed."""
