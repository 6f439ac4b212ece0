"""JSON Schema: a schema made ready once, values held against it, every mistake in words that name its place. Pure.

Understood is what ``keywords`` lists of draft 2020-12. What a schema says holds: a word that is not understood is a mistake of the schema,
told before any value is looked at, never one that is passed over. References lead to places inside the schema; nothing is ever fetched.
"""

from agenticflow.core.json_schema.compiled import (
    MAX_PROBLEMS,
    CompiledSchema,
    JsonSchema,
    compile_schema,
    schema_mistakes,
)
from agenticflow.core.json_schema.keywords import inner_schemas
from agenticflow.core.json_schema.weakening import beginning_of, understood_part
from agenticflow.core.json_schema.words import missing_words, short, unknown_words

__all__ = [
    "MAX_PROBLEMS",
    "CompiledSchema",
    "JsonSchema",
    "beginning_of",
    "compile_schema",
    "inner_schemas",
    "missing_words",
    "schema_mistakes",
    "short",
    "understood_part",
    "unknown_words",
]
