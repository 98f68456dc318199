"""From what others published or wrote down to rows that can be trained on."""
