"""What the OpenAPI document says of each output, for those who make clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from crispseg.serving.results import OUTPUTS

__all__ = ["describe_output"]

_SUMMARIES = {
    "mask": "Label map: the ids of the model's label table, in a PNG with the classes' colours",
    "overlay": "The image with the classes' colours over it",
    "boundaries": "The boundary branch's probability times 255, or the edges of the mask if the model has none",
    "polygons": "The regions of the mask as polygons",
}
_ERRORS = {
    404: "no such model",
    408: "the upload took too long",
    413: "too many bytes or pixels",
    415: "not an image that can be read",
    422: "a broken image, or a query or form that does not fit",
    500: "the model failed",
    503: "too many requests; Retry-After says when to come again",
}


def describe_output(output: str, models: Sequence[str]) -> dict[str, Any]:
    """Keywords of FastAPI's ``post``.

    Args:
        output: one of `OUTPUTS`.
        models: their names.
    """
    formats = OUTPUTS[output]
    parameters = [
        _parameter("model", "The first if none is named.", {"type": "string", "enum": list(models)}),
        _parameter(
            "format",
            "By the header Accept, or the first, if none is named.",
            {"type": "string", "enum": [one.name for one in formats]},
        ),
    ]
    if output == "polygons":
        pixels = {"type": "number", "minimum": 0, "default": 0}
        parameters.append(_parameter("simplify", "How coarse outlines may become, in pixels.", pixels))
    binary = {"schema": {"type": "string", "format": "binary"}}
    file = {"schema": {"type": "object", "required": ["image"], "properties": {"image": binary["schema"]}}}
    body = {"multipart/form-data": file, "image/*": binary, "application/octet-stream": binary}
    error = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
    responses = {
        **{
            status: {"description": why, "content": {"application/json": {"schema": error}}}
            for status, why in _ERRORS.items()
        },
        200: {"description": _SUMMARIES[output], "content": {one.media_type: {} for one in formats}},
    }
    return {
        "summary": _SUMMARIES[output],
        "operation_id": output,
        "response_class": Response,
        "status_code": 200,
        "responses": responses,
        "openapi_extra": {"parameters": parameters, "requestBody": {"required": True, "content": body}},
    }


def _parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}
