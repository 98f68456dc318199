"""The commands of `globetag`, one file each."""
