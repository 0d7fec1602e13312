"""Ids that arrays are made of. This module, `batch` and `shards` need NumPy alone, so that training does too."""

# Tokens that no text has. 0 is padding.
SPECIAL = (
    "<pad>", "<intent>", "<spec>", "<obs>", "<program>", "</program>", "<edit>", "<until>", "<end>", "<doc>", "<mask>",
)  # fmt: skip
PAD, INTENT, SPEC, OBS, PROGRAM, PROGRAM_END, EDIT, UNTIL, END, DOC, MASK = range(len(SPECIAL))

# Kinds of site row. 0 is padding; the others are an operation with a category, see `encoding.kind_id`.
NO_SITE, STOP = 0, 1
