"""Plan documents: bytes to a checked document, or to every problem with its line.

`parse` is the door. `formats` makes a tree of values that know their lines from the four
syntaxes, `reading` reads the document from it by the table in `fields`, `relations`
checks what tasks say of each other.
"""
