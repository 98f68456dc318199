"""Commands that this room brings along: entry points of the group `globetag.commands`, one file each."""
