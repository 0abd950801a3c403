"""The forms of the Data Integration Service's answers, as JSON Schema: every field that DESIGN.md section 9 names is required."""

from __future__ import annotations

from typing import Any

from serving.integration.jobs import DataType, Status


def _nullable(kind: str, **more: object) -> dict[str, Any]:
    return {"type": [kind, "null"], **more}


_SCORE = _nullable("number", minimum=0, maximum=1, description="Null: nobody computes scores yet.")
_COUNT = {"type": "integer", "minimum": 0}
_TEXT = {"type": "string"}
_INSTANT = {"type": "string", "format": "date-time"}


def _object(required: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": {**required, **more}}


JOB = _object(
    {
        "request_id": _TEXT,
        "status": {"enum": [status.value for status in Status]},
        "processed_count": {**_COUNT, "description": "Rows published that the job brought."},
        "failed_count": {**_COUNT, "description": "Facts and messages in quarantine, and rows held."},
        "quality_score": _SCORE,
        "processing_time_ms": _nullable("integer", minimum=0, description="Null until the job ended."),
    },
    quality_note=_TEXT,
    source=_TEXT,
    data_type={"enum": [kind.value for kind in DataType]},
    instruments={"type": "array", "items": _TEXT},
    timeframe=_nullable("string"),
    error_message=_nullable("string"),
    created_at=_INSTANT,
    captures={"type": "array", "items": _TEXT},
    detail={"type": "object"},
)
_ISSUE = _object(
    {
        "type": _TEXT,
        "severity": {"enum": ["info", "warning", "error"]},
        "description": _nullable("string"),
        "field": _nullable("string"),
        "value": _nullable("string"),
    },
    event_id=_TEXT,
)
QUALITY = {
    "type": "array",
    "items": _object(
        {
            "instrument_id": _TEXT,
            "timestamp": _INSTANT,
            **dict.fromkeys(("completeness", "accuracy", "freshness", "consistency", "overall_score"), _SCORE),
            "issues": {"type": "array", "items": _ISSUE},
        }
    ),
}
HEALTH = _object(
    {
        "status": {"enum": ["ok", "waiting"]},
        "jobs": _object({status.value: _COUNT for status in Status}),
        "is_running": {"type": "boolean"},
    },
    quality_note=_TEXT,
)
