"""How fast the four questions that users ask are answered, and rows stored, however many there are."""
