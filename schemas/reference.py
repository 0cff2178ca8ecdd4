"""docs/data.md, generated from the contracts: ``python -m schemas.reference > docs/data.md``."""

from __future__ import annotations

import sys

from schemas.items import ITEM_COLUMNS, JSONL_KEYS
from schemas.media import MEDIA_REJECTS
from schemas.published import FILES, OUTPUTS, meaning
from schemas.tables import TABLES
from schemas.votes import (
    BOTH_BAD_WORDS,
    LETTER_WORDS,
    PROMPT_FIELDS,
    REJECT_REASONS,
    RESPONSE_FIELDS,
    TIE_WORDS,
    VOTE_FIELDS,
    FieldRule,
)


def reference() -> str:
    """Return every field, outcome, reject reason, table and shard column as Markdown."""
    letters = "; ".join(f"{' '.join(first)} / {' '.join(second)}" for first, second in LETTER_WORDS.values())
    parts = [
        "# What goes in and what comes out\n",
        "Generated from `schemas/` by `make docs`.\n",
        "## Columns of a vote file\n",
        "A column is found by any of these names, whatever its case; `--map FIELD=COLUMN` names any other.\n",
        _fields(VOTE_FIELDS),
        "\nOutcomes: `left` and `right` where the columns say which response was shown left; for two responses whose",
        f"sides are not known {letters}; or the name of the response or model that won.",
        f"Tie: {', '.join(TIE_WORDS)}. Both bad: {', '.join(BOTH_BAD_WORDS)}. Others: `--outcome VALUE=OUTCOME`.\n",
        "## Columns of a prompt file\n",
        _fields(PROMPT_FIELDS),
        "\n## Columns of a response file\n",
        _fields(RESPONSE_FIELDS),
        "\n## Why a row is rejected\n",
        "| reason | meaning |\n|---|---|",
        *(f"| `{reason}` | {meaning} |" for reason, meaning in REJECT_REASONS.items()),
        "\n## Why a video or an image is refused\n",
        "| status | meaning |\n|---|---|",
        *(f"| `{code}` | {meaning} |" for code, meaning in MEDIA_REJECTS.items()),
        "\n## Tables of a store\n",
    ]
    for table, columns in TABLES.items():
        parts.append(f"### {table}\n\n| column | type | meaning |\n|---|---|---|")
        parts += [f"| `{c.name}` | {c.type} | {_escaped(c.meaning)} |" for c in columns]
        parts.append("")
    parts += ["## Columns of a shard\n", "| column | type | meaning |\n|---|---|---|"]
    parts += [f"| `{c.name}` | {c.type} | {_escaped(c.meaning)} |" for c in ITEM_COLUMNS]
    parts.append(f"\nKeys of the trainer's JSONL: {', '.join(f'`{key}`' for key in JSONL_KEYS)}.")
    parts += [
        "\n## JSON Schemas\n",
        "`curate schema NAME` prints each (draft 2020-12); a TOML file has the same keys.\n",
    ]
    parts += ["| name | contents |\n|---|---|"]
    parts += [f"| `{name}` | {_escaped(meaning(name))} |" for name in (*FILES, *OUTPUTS)]
    return "\n".join(parts) + "\n"


def _fields(rules: tuple[FieldRule, ...]) -> str:
    rows = [f"| `{rule.name}` | {', '.join(rule.aliases)} | {_escaped(rule.meaning)} |" for rule in rules]
    return "\n".join(["| field | names | meaning |\n|---|---|---|", *rows])


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference())
