"""From an address to a picture and what the file says about itself. Everything here reads untrusted bytes."""
