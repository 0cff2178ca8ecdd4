"""Releases in the formats of other programs ("clients"), one file each; ``registry`` lists them."""
