"""The tables of the specification, as spec/schema.json and spec/registry.json hold them for machines."""
import json
import os
from pathlib import Path


def _spec():
    """The folder of the specification: what SEGUE_SPEC names, or `spec` in the nearest folder above that has it."""
    if named := os.environ.get("SEGUE_SPEC"):
        places = [Path(named)]
    else:
        places = [folder / "spec" for folder in Path(__file__).resolve().parents]
    for place in places:
        if (place / "registry.json").is_file() and (place / "schema.json").is_file():
            return place
    looked = named or f"a folder 'spec' beside or above {Path(__file__).resolve().parent}"
    raise SystemExit(f"no registry.json and schema.json in {looked}: set SEGUE_SPEC to the folder spec/ of the specification")


SPEC = _spec()
_schema = json.loads((SPEC / "schema.json").read_text())
_registry = json.loads((SPEC / "registry.json").read_text())

# name of a structure -> [(field, encoding)]
STRUCTS = {
    s["name"]: [(f["name"], f["encoding"]) for f in s["fields"]]
    for group in ("payloads", "objects", "blobs")
    for s in _schema[group]
}
# A piece of content (09-service, section 9.5), if the tables don't have it.
STRUCTS.setdefault("Piece", [("offset", "varint < 2^64"), ("bytes", "bytes ≤ 61440")])

GENERATIONS = {g["name"]: g["number"] for g in _registry["generations"]}
GENERATION_NAMES = {n: name for name, n in GENERATIONS.items()}
MESSAGES = {m["type"]: (m["name"], m["payload"], GENERATIONS[m["since"]]) for m in _registry["messages"]}
TYPES = {name: kind for kind, (name, _, _) in MESSAGES.items()}
PAYLOAD_OF = {name: payload for name, payload, _ in MESSAGES.values()}
ERRORS = {e["name"]: e["code"] for e in _registry["errors"]}
ERROR_NAMES = {code: name for name, code in ERRORS.items()}
DEFINITE = {e["name"]: e["definite"] for e in _registry["errors"]}
# body structure of a signed object -> (context of its id, context of its signature, field that names the signer)
SIGNED = {s["body"]: (s["id_context"], s["signature_context"], s["signer"]) for s in _schema["signed"]}


class _Limits:
    pass


LIMIT = _Limits()
for _limit in _registry["limits"]:
    setattr(LIMIT, _limit["name"], _limit["value"])


def code_bytes(name):
    """The two bytes of an error code, by its name or as '0x7777'."""
    number = ERRORS[name] if name in ERRORS else int(name, 16)
    return number.to_bytes(2, "big")


def code_name(code):
    """The name of an error code of two bytes; hexadecimal if the specification has none."""
    number = int.from_bytes(code, "big")
    return ERROR_NAMES.get(number, f"0x{number:04x}")


class Refused(Exception):
    """Something can't be taken: the error code by name, and the requirement that says so."""

    def __init__(self, code, clause=None, text=""):
        super().__init__(text or f"{code} {clause or ''}")
        self.code = code
        self.clause = clause
        self.text = text or code
