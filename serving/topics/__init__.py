"""Topics: what the gate has published, as events and as Arrow blocks, on the embedded log and on Kafka."""
