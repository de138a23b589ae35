"""Values that are checked when they are read, with messages that name the option."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tdbench.bench.errors import UsageError
from tdbench.bench.redact import redacted

T = TypeVar("T", bound=BaseModel)


class CheckedSettings(BaseModel):
    """Base of settings: frozen, and nothing unknown or infinite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _shown(place: str, value: Any) -> str:
    return "an address" if "url" in place.split(".") else redacted(repr(value))  # addresses may hold keys


def check_values(model: type[T], values: dict[str, Any], where: str = "") -> T:
    """Builds a settings model.

    Args:
        model: The model class.
        values: Raw values.
        where: Prefix of option names in messages, such as `method.`.

    Raises:
        UsageError: Names the option, what it got and what was expected.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = []
        for item in error.errors():
            place = where + ".".join(str(part) for part in item["loc"])
            if item["type"] == "tuple_type":
                item["msg"] = f"expected a list in brackets: {place}=[A,B]"
            problems.append(
                f"{place or where.rstrip('.') or 'configuration'}: got {_shown(place, item.get('input'))}; {item['msg']}"
            )
        raise UsageError(". ".join(problems) + ".") from None
