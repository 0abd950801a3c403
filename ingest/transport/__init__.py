"""HTTP and socket clients: the only place that does provider I/O."""
