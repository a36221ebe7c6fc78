"""Turns a row of the pickle into a `forebay.v1.Row`."""

import sys
from datetime import datetime
from pathlib import Path

import numpy as np

# Generated from /proto, see examples/stubs/README.md.
sys.path.insert(0, str(Path(__file__).parent.parent / "stubs"))
from forebay.v1 import source_pb2  # noqa: E402


def encode(row):
    """The row on the wire. A value is sent with its own type, even if another was declared:
    this server does not validate. None is left out."""
    encoded = source_pb2.Row(key=row.get("id", ""))
    for name, value in row.items():
        if name == "id" or value is None:
            continue
        if isinstance(value, np.ndarray):
            encoded.embeddings[name].f32 = value.astype("<f4").tobytes()
        else:
            set_value(encoded.fields[name], value)
    return encoded


def set_value(target, value):
    match value:
        # Must precede int, because bool is a subclass of it.
        case bool():
            target.boolean = value
        case int():
            target.integer = value
        case float():
            target.real = value
        case str():
            target.text = value
        case bytes():
            target.binary = value
        case datetime():
            target.timestamp.FromDatetime(value)
        case list():
            target.texts.values.extend(value)
        case _:
            raise TypeError(f"a {type(value).__name__} cannot be sent")
