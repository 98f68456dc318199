"""Class names as checkpoints write them, in one form."""


def class_name(label: str) -> str:
    """In small letters, and of several names the first: "Windowpane; window " is "windowpane"."""
    return " ".join(label.replace(",", ";").partition(";")[0].replace("_", " ").lower().split())
