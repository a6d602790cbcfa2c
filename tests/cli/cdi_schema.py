"""What the Container Device Interface specification, 0.5.0, allows in a file: unknown fields, and fields of later versions, are errors."""

_STRINGS = {"type": "array", "items": {"type": "string"}}
_ABSOLUTE = {"type": "string", "pattern": "^/"}


def _object(required, **properties):
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


_EDITS = _object(
    [],
    env={"type": "array", "items": {"type": "string", "pattern": "^[^=]+="}},
    deviceNodes={
        "type": "array",
        "items": _object(
            ["path"],
            path=_ABSOLUTE,
            hostPath=_ABSOLUTE,  # since 0.5.0
            type={"enum": ["b", "c", "u", "p"]},
            major={"type": "integer", "minimum": 0},
            minor={"type": "integer", "minimum": 0},
            fileMode={"type": "integer", "minimum": 0, "maximum": 0o7777},
            permissions={"type": "string", "pattern": "^[rwm]{1,3}$"},
            uid={"type": "integer", "minimum": 0},
            gid={"type": "integer", "minimum": 0},
        ),
    },
    mounts={
        "type": "array",
        "items": _object(
            ["hostPath", "containerPath"], hostPath=_ABSOLUTE, containerPath=_ABSOLUTE, type={"type": "string"}, options=_STRINGS
        ),
    },
    hooks={
        "type": "array",
        "items": _object(
            ["hookName", "path"],
            hookName={"enum": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]},
            path=_ABSOLUTE,
            args=_STRINGS,
            env=_STRINGS,
            timeout={"type": "integer", "minimum": 0},
        ),
    },
)

SCHEMA = _object(
    ["cdiVersion", "kind", "devices"],
    cdiVersion={"const": "0.5.0"},
    # vendor: letters, digits, _ - . from a letter to a letter or digit; class: without the dot
    kind={"type": "string", "pattern": "^[A-Za-z]([A-Za-z0-9_.-]*[A-Za-z0-9])?/[A-Za-z]([A-Za-z0-9_-]*[A-Za-z0-9])?$"},
    devices={
        "type": "array",
        "minItems": 1,
        "items": {
            **_object(
                ["name", "containerEdits"],
                name={"type": "string", "pattern": "^[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?$"},
                containerEdits={**_EDITS, "minProperties": 1},
            )
        },
    },
    containerEdits=_EDITS,
)
