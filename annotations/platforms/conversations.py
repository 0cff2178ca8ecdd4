"""Conversations of arenas: what was asked, and what a model answered."""

from __future__ import annotations

from typing import Any

from annotations.platforms.base import nested


def spoken(conversation: Any, role: str, turns: int | None = None) -> str | None:
    """All that a role (user, assistant) says in a conversation, in its first ``turns`` turns; None for nothing.

    conversation: [{role, content}, ...], content a text or a list of parts of which some are text.
    """
    messages = nested(conversation)
    if not isinstance(messages, list):
        return None
    own = [m for m in messages if isinstance(m, dict) and m.get("role") == role]
    texts = [_text(m.get("content")) for m in own[:turns]]
    return "\n\n".join(text for text in texts if text) or None


def _text(content: Any) -> str:
    content = nested(content)
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in content]
        return "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""
