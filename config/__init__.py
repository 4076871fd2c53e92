"""Settings: what can be set, how it is read, and the shipped defaults."""
