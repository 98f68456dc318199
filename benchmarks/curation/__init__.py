"""What each step of curation is worth, in the world where the truth is known."""
