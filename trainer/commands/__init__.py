"""The commands of the trainer, one file each; `worker.cli` shows them beside its own."""
