"""What models cost, out of the file that the settings name."""

from __future__ import annotations

from pathlib import Path

from agenticflow.agents.model.prices import PriceTable
from agenticflow.errors import ConfigurationError, DefinitionError

__all__ = ["read_prices"]


def read_prices(path: str) -> PriceTable:
    """Return the table in the file, an empty one without a path: models by name, each with the fields of ``Price``.

    Raises ``ConfigurationError`` that says what is wrong with it.
    """
    if not path:
        return PriceTable({})
    from agenticflow.app.definitions.reading import read_document  # late: it brings the parser of YAML

    file = Path(path)
    if not file.is_file():
        raise ConfigurationError(
            f"there is no file {path!r} with prices", hint="mend the setting models.prices, or leave it out"
        )
    try:
        data = read_document(file).data
        if not isinstance(data, dict):
            raise DefinitionError("it holds no mapping of models to prices")
        return PriceTable.from_dict(data)
    except DefinitionError as error:
        raise ConfigurationError(
            f"the prices in {path!r} are wrong: {error.message}",
            hint='write "openai:gpt-5": {input_per_million: "1.25", output_per_million: "10"}',
        ) from error
