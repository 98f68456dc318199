"""What the LVLM is asked, how it is run, and how its answer is read."""
