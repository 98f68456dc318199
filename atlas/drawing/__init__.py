"""What `atlas.render` draws with: a pen on the unit square, and the things of this world, one file a kind."""
