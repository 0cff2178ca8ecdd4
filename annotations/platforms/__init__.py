"""Exports of annotation platforms, told by their content and read as rows in our own columns: one small file each."""
