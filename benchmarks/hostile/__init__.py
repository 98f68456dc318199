"""What comes from outside and means harm: addresses, paths, messages."""
