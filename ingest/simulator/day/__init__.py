"""A simulated trading day: made trades, spoken in each provider's real words, on any clock, with a storm of incidents."""
