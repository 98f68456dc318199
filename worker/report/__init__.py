"""What a person looks at after a run: one table in the terminal, one HTML file that works offline."""
