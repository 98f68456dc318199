"""From names to points on the sphere, and back. Offline; every place has an id."""
