"""Exports of annotation platforms: one file per platform, detected by content and read as rows in our columns."""
