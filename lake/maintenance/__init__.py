"""Maintenance: compaction, archive, retention, manifests, expiry and the sweep; `maintaining.maintain` does them in order."""
