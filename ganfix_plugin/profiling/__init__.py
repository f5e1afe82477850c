"""What can be measured about one generator, and the store that keeps it by fingerprint."""
