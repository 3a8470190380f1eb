"""Checks every vector of conformance/vectors step by step: `python -m unittest test_vectors` in this folder."""
import json
import unittest
from pathlib import Path

from segue_py import account, blobs, chain, crypto, data, generations, link, receipt, replica, service, sync, wire
from segue_py.registry import Refused
from segue_py.wire import Struct

VECTORS = Path(__file__).resolve().parents[2] / "vectors"


def to_value(enc, value):
    """A JSON value of a vector as a value of an encoding; enc as wire._parse gives it."""
    kind = enc[0]
    if kind in ("u8", "bool", "varint"):
        return value
    if kind in ("fixed", "bytes"):
        return bytes.fromhex(value)
    if kind == "string":
        return value["text"]
    if kind == "list":
        return [to_value(enc[2], v) for v in value]
    if kind == "optional":
        return to_value(enc[1], value[0]) if value else None
    if kind == "signed":
        return Struct(body=bytes.fromhex(value["body"]), sig=bytes.fromhex(value["sig"]))
    return Struct(**{f: to_value(inner, value[f]) for f, inner in wire._fields(enc[1])})


def to_json(enc, value):
    kind = enc[0]
    if kind in ("u8", "bool", "varint"):
        return value
    if kind in ("fixed", "bytes"):
        return value.hex()
    if kind == "string":
        return {"text": value}
    if kind == "list":
        return [to_json(enc[2], v) for v in value]
    if kind == "optional":
        return [] if value is None else [to_json(enc[1], value)]
    if kind == "signed":
        return {"body": value.body.hex(), "sig": value.sig.hex()}
    return {f: to_json(inner, getattr(value, f)) for f, inner in wire._fields(enc[1])}


def hexes(name, value):
    return to_json(wire._encoding(name), value)


def unhex(i, *names):
    return [bytes.fromhex(i[n]) for n in names]


SIGNED_FIELDS = {"WANT": ("want", "Want"), "OFFER": ("offer", "Offer")}


def check_signed_inside(name, message):
    """The forms of the signed objects in a message, as their chapters have them."""
    if name in SIGNED_FIELDS:
        field, structure = SIGNED_FIELDS[name]
        wire.open_body(structure, getattr(message, field))
    if name == "GRANT":
        wire.open_body("Record", message.record)
        wire.open_body("Want", message.want)
        wire.open_body("Final", message.end)
    if name == "HEAD":
        for record in message.records:
            wire.open_body("Record", record)
    if name == "ROSTER":
        for entry in message.entries:
            wire.open_body("RosterEntry", entry)


class Kinds:
    def value(self, i):
        enc = i["encoding"]
        raw = bytes.fromhex(i["bytes"])
        value = wire.decode(enc, raw)
        assert wire.encode(enc, value) == raw
        return {"value": to_json(wire._encoding(enc), value)}

    def frame(self, i):
        raw = bytes.fromhex(i["bytes"])
        kind, length, size = wire.frame_header(raw)
        if not wire.check_type(kind):
            return {"skipped": True}
        name, message = wire.decode_message(kind, raw[size : size + length])
        if name == "HELLO":
            generations.check_hello(message)
        check_signed_inside(name, message)
        structure = wire.PAYLOAD_OF[name]
        assert wire.encode(structure, message) == raw[size:]
        return {"message": name, "fields": hexes(structure, message)}

    def sign(self, i):
        identity = crypto.Identity(bytes.fromhex(i["secret"]))
        body = to_value(wire._encoding(i["object"]), i["fields"])
        signed = wire.sign_object(i["object"], body, identity)
        wire.open_body(i["object"], signed)
        wire.verify_signed(i["object"], signed, identity.key)
        return {
            "key": identity.key.hex(), "signature": signed.sig.hex(),
            "intermediate": {"body": signed.body.hex(), "id": wire.object_id(i["object"], signed.body).hex()},
        }

    def verify(self, i):
        key, body, sig = unhex(i, "key", "body", "sig")
        signed = Struct(body=body, sig=sig)
        wire.open_body(i["object"], signed)
        wire.verify_signed(i["object"], signed, key)

    def auth(self, i):
        hello, binding = unhex(i, "hello", "binding")
        if "secret" in i:
            identity = crypto.Identity(bytes.fromhex(i["secret"]))
            return {"frame": link.auth_frame(identity, i["role"], hello, binding).hex()}
        raw = bytes.fromhex(i["frame"])
        kind, length, size = wire.frame_header(raw)
        _, message = wire.decode_message(kind, raw[size:])
        link.check_auth(message, i["role"], hello, binding)

    def hello(self, i):
        return self.frame({"bytes": i["frame"]})

    def roster(self, i):
        entries = [to_value(("signed",), e) for e in i["entries"]]
        results = []
        for order in (entries, entries[::-1]):
            roster = account.Roster()
            for n, entry in enumerate(order):
                try:
                    roster.take(entry)
                except Refused:
                    if order is not entries or n == len(entries) - 1:
                        raise
            results.append({"members": [m.hex() for m in sorted(roster.members())], "revoked": [m.hex() for m in sorted(roster.revoked())]})
        assert results[0] == results[1]
        return results[0]

    def link_proof(self, i):
        return {"proof": account.link_proof(i["side"], *unhex(i, "secret", "binding", "linked", "new")).hex()}

    def link_code(self, i):
        return {"code": account.link_code(*unhex(i, "secret", "binding", "linked", "new"))}

    def invite(self, i):
        invite = to_value(wire._encoding("Invite"), i)
        text = account.invite_text(invite)
        assert account.read_invite(text.lower()) == invite
        return {"invite": {"text": text}}

    def content_key(self, i):
        key, session = unhex(i, "key", "session")
        return {"id": service.key_id(key).hex(), "box": service.box_of(key, session).hex(), "seal": service.seal_key(key).hex()}

    def blob_box(self, i):
        return {"box": service.blob_box(*unhex(i, "key", "session", "blob")).hex()}

    def piece(self, i):
        if "envelope" in i:
            key, box, envelope = unhex(i, "key", "box", "envelope")
            if service.open_envelope(3, key, box, envelope) is None:
                raise Refused("SERVICE_ENVELOPE")
            return None
        key, box, plain = unhex(i, "key", "box", "plain")
        wire.decode("Piece", plain)
        envelope = service.seal_piece(key, box, plain)
        assert service.open_envelope(3, key, box, envelope) == plain
        return {"envelope": envelope.hex()}

    def inbox(self, i):
        return {"box": service.inbox_of(bytes.fromhex(i["device"])).hex()}

    def seal(self, i):
        if "envelope" in i:
            key, box, envelope = unhex(i, "key", "box", "envelope")
            if service.open_envelope(1, key, box, envelope) is None:
                raise Refused("SERVICE_ENVELOPE")
            return None
        key, box, nonce, plain = unhex(i, "key", "box", "nonce", "plain")
        envelope = service.seal_envelope(1, key, box, nonce, plain)
        assert service.open_envelope(1, key, box, envelope) == plain
        return {"envelope": envelope.hex(), "id": crypto.blob_id(envelope).hex()}

    def wrap(self, i, form=b"\x02", info=b"segue/1 wrap"):
        device, secret, ikm, plain = unhex(i, "device", "secret", "ikm", "plain")
        aad = service.inbox_of(device)
        envelope = form + crypto.wrap(device, ikm, info, aad, plain)
        identity = crypto.Identity(secret)
        assert crypto.unwrap(identity, info, aad, envelope[1:]) == plain
        return {"envelope": envelope.hex()}

    def introduce(self, i):
        return self.wrap(i, b"\x05", b"segue/1 introduction")

    def pick(self, i):
        return {"generation": generations.pick(i["generation"], i["floor"], i["peer_generation"], i["peer_floor"])}

    def actor(self, i):
        return {"actor": data.actor_of(*unhex(i, "device", "nonce")).hex()}

    def session_id(self, i):
        return {"session": chain.session_id(*unhex(i, "creator", "nonce")).hex()}

    def strand(self, i):
        session, part, actor = unhex(i, "session", "part", "actor")
        hash_, seq = data.strand_start(session, part, actor), 0
        for raw in i["ops"]:
            op = wire.decode("Op", bytes.fromhex(raw))
            hash_, seq = data.op_hash(hash_, op), op.seq
        return {"seq": seq, "hash": hash_.hex()}

    def part_root(self, i):
        tips = [to_value(("struct", "Tip"), t) for t in i["strands"]]
        return {"part_root": data.part_root(bytes.fromhex(i["part"]), i["kind"], [(t.actor, t.seq, t.hash) for t in tips]).hex()}

    def root(self, i):
        return {"root": data.root_of(bytes.fromhex(i["session"]), [tuple(unhex(p, "part", "part_root")) for p in i["parts"]]).hex()}

    def manifest(self, i):
        session, raw = unhex(i, "session", "bytes")
        manifest = data.check_manifest(session, raw)
        result = {"manifest": crypto.blob_id(raw).hex(), "manifest_len": len(raw), "root": manifest.root.hex()}
        whole = replica.Copy(session)
        whole.parts = {p.part: data.part_of(session, p) for p in manifest.parts}
        live = [(p, e) for p, e in whole.shown_entries() if e.mode != data.REMOVED]
        places = {part: path for path, (part, _) in whole.tree().items()}
        paths = [e.path for _, e in whole.shown_entries()]
        if len(set(paths)) < len(paths) or any(places.get(p) != e.path for p, e in live):
            result["places"] = [{"part": p.hex(), "path": {"text": places[p]}} for p, _ in sorted(live, key=lambda x: x[0])]
        return result

    def apply(self, i):
        session, raw = unhex(i, "session", "manifest")
        manifest = data.check_manifest(session, raw)
        parts = {p.part: data.part_of(session, p) for p in manifest.parts}
        for op in i["ops"]:
            data.apply_inline(parts, set(parts), wire.decode("Op", bytes.fromhex(op)))
        return {"root": data.root_of(session, [(p, parts[p].root()) for p in sorted(parts)]).hex()}

    def named_part(self, i):
        return {"part": data.named_part(bytes.fromhex(i["session"]), i["kind"], i["name"]["text"]).hex()}

    def salt(self, i):
        return {"salt": data.salt_of(bytes.fromhex(i["seed"]), i["seq"]).hex()}

    def time(self, i):
        last, read = (int(x[0], 16) if x else None for x in (i["last"], i["read"]))
        return {"hlc": data.next_time(i["clock"], last, read).to_bytes(8, "big").hex()}

    def merge(self, i):
        session = bytes.fromhex(i["session"])
        parts = []
        for raw in i["a"] + [i["b"]]:
            struct = wire.decode("Part", bytes.fromhex(raw))
            data.check_part(session, struct, pieces=True)
            parts.append(data.part_of(session, struct))
        if len(parts) == 1:
            parts.insert(0, data.Part(session, parts[0].id, parts[0].kind))
        merged = data.merge(*parts)
        other = data.merge(*parts[::-1])
        assert merged.encode() == other.encode()
        return {
            "part": merged.encode().hex(), "part_root": merged.root().hex(),
            "values": [{"text": merged.values[a].op.body.decode()} for a in sorted(merged.values)],
            "shown": {"text": merged.shown().op.body.decode()},
        }

    def log(self, i):
        ops = [
            Struct(
                actor=bytes.fromhex(o["actor"]), seq=o["seq"], hlc=bytes.fromhex(o["hlc"]),
                deps=[Struct(actor=bytes.fromhex(d["actor"]), seq=d["seq"]) for d in o["deps"]],
            )
            for o in i["ops"]
        ]
        return {"order": [{"actor": o.actor.hex(), "seq": o.seq} for o in data.log_order(ops)]}

    def entry(self, i):
        raw = bytes.fromhex(i["bytes"])
        return {"fields": hexes("Entry", data.check_entry(raw))}

    def receipt(self, i):
        proof = receipt.verify(bytes.fromhex(i["bytes"]))
        return {field: getattr(proof, field).hex() for field in ("record", "source", "target", "by")}

    def path(self, i):
        data.check_path(i["path"]["text"])
        return {"accepted": True}

    def feed(self, i):
        session = bytes.fromhex(i["session"])
        held, strands, taken = replica.Copy(session), replica.Strands(), []
        for n, raw in enumerate(i["frames"]):
            for name, message in wire.read_frames(bytes.fromhex(raw)):
                if name == "STRAND":
                    strands.name(message)
                elif name == "OPS":
                    strands.session_of(message.strand)
                    for brief in message.ops:
                        op, strand = strands.next_op(held, message.strand, brief)
                        if held.take_op(strand.kind, op, strand.seed):
                            taken.append((op, held.parts[op.part].hash_at(op.actor, op.seq)))
                elif name == "PARTS":
                    for encoded in message.parts:
                        struct = wire.decode("Part", encoded)
                        data.check_part(session, struct, pieces=True)
                        held.take_part(struct, lambda a, b: True)
        ops = []
        for op, hash_ in taken:
            fields = hexes("Op", op)
            fields = {"part": fields.pop("part"), "kind": held.parts[op.part].kind, **fields, "hash": hash_.hex()}
            ops.append(fields)
        values = [
            wire.encode("Op", part.values[a].op).hex()
            for _, part in sorted(held.parts.items()) if not part.is_stream for a in sorted(part.values)
        ]
        return {"ops": ops, "values": values, "root": held.root().hex()}

    def rank(self, i):
        session = bytes.fromhex(i["session"])
        records = chain.Chain()
        for raw in i["records"]:
            signed = to_value(("signed",), raw)
            records.take(signed, chain.open_record(signed))
        held = replica.Copy(session)
        structs = [wire.decode("Part", bytes.fromhex(raw)) for raw in i["held"] + [i["came"]]]
        for struct in structs:
            data.check_part(session, struct)
        if i["held"]:
            held.take_part(structs[0], lambda theirs, ours: True)
        held.take_part(structs[-1], lambda theirs, ours: sync.outranks(records, theirs, ours))
        kept = list(held.parts.values())
        return {
            "kept": [part.encode().hex() for part in kept], "part_root": [part.root().hex() for part in kept],
            "value": [{"text": part.shown().op.body.decode()} for part in kept],
        }

    def chain(self, i):
        records = chain.Chain()
        for n, raw in enumerate(i["records"]):
            signed = to_value(("signed",), raw)
            try:
                records.take(signed, chain.open_record(signed))
            except Refused as e:
                e.index = n
                raise
        head = records.head
        return {"head": head.id.hex(), "term": head.body.term, "n": head.body.n, "owner": head.body.owner.hex()}

    def grant(self, i):
        target, raw = unhex(i, "target", "manifest")
        records = chain.Chain()
        parent = to_value(("signed",), i["parent"])
        records.take(parent, chain.open_record(parent))
        frame = bytes.fromhex(i["frame"])
        kind, _, size = wire.frame_header(frame)
        _, grant = wire.decode_message(kind, frame[size:])
        body = chain.open_record(grant.record)
        want = wire.open_body("Want", grant.want)
        wire.verify_signed("Want", grant.want, want.target)
        final = wire.open_body("Final", grant.end)
        wire.verify_signed("Final", grant.end, records.get(body.parent).body.owner)
        assert want.target == body.owner == target and body.want == wire.object_id("Want", grant.want.body)
        manifest = data.check_manifest(body.session, raw)
        parts = {p.part: data.part_of(body.session, p) for p in manifest.parts}
        data.apply_whole(body.session, parts, grant.parts, grant.ops)
        for op in grant.ops:
            data.apply_inline(parts, set(parts), op)
        root = data.root_of(body.session, [(p, parts[p].root()) for p in sorted(parts)])
        assert root == final.root
        records.take(grant.record, body)
        return {"root": root.hex(), "head": records.head.id.hex(), "owner": records.head.body.owner.hex()}

    def ack(self, i):
        message = b"segue/1 sig head" + bytes.fromhex(i["record"])
        if "secret" in i:
            return {"signature": crypto.Identity(bytes.fromhex(i["secret"])).sign(message).hex()}
        crypto.verify(bytes.fromhex(i["owner"]), message, bytes.fromhex(i["signature"]))

    def blob(self, i):
        return {"blob": crypto.blob_id(bytes.fromhex(i["content"])).hex()}

    def chunk_list(self, i):
        content = bytes(n % i["content"]["modulus"] for n in range(i["content"]["len"]))
        raw = blobs.cut_equal(content)
        result = {"blob": crypto.blob_id(content).hex()}
        if raw:
            blobs.plan_from_list(len(content), raw)
            result |= {"list_hash": crypto.blob_id(raw).hex(), "list_len": len(raw)}
        return result

    def gear(self, i):
        return {"entry": blobs.GEAR[i["value"]].to_bytes(8, "big").hex()}

    def lengths(self, i):
        by = blobs.lengths(i["len"])
        size = blobs.chunk_len(i["len"])
        _, shortest, middle, longest = by if by else (0, size, size, size)
        return {"shortest": shortest, "middle": middle, "longest": longest}

    def cut(self, i):
        c = i["content"]
        x, noise = c.get("noise", 0), bytearray()
        for n in range(c["len"]):
            x = x * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
            noise.append(x >> 56 if "noise" in c else n % c["modulus"])
        content = bytes.fromhex(c["front"]) + noise
        raw = blobs.cut(content)
        lens = [chunk.len for chunk in wire.decode("ChunkList", raw).chunks]
        found = {"blob": crypto.blob_id(content).hex(), "list_hash": crypto.blob_id(raw).hex(), "list_len": len(raw)}
        return found | {"intermediate": {"lens": lens}}

    def chunk(self, i):
        if len(bytes.fromhex(i["bytes"])) != i["len"] or crypto.blob_id(bytes.fromhex(i["bytes"])).hex() != i["blob"]:
            raise Refused("DATA_HASH")
        return {"verified": True}

    def plan(self, i):
        return {"offsets": [offset for offset, _, _ in blobs.plan_from_list(i["len"], bytes.fromhex(i["list"]))]}

    def ranges(self, i):
        blobs.check_ranges(i["len"], [Struct(**r) for r in i["ranges"]])
        return {"accepted": True}


def run(vector):
    method = getattr(Kinds(), vector["kind"].replace("-", "_"))
    try:
        return method(vector["input"])
    except Refused as e:
        result = {"error": e.code}
        if "refused" in vector["expected"]:
            result["refused"] = e.index
        return result


class Vectors(unittest.TestCase):
    maxDiff = None


def _add_tests():
    for file in sorted(VECTORS.glob("*/*/*.json")):
        vector = json.loads(file.read_text())

        def test(self, vector=vector):
            got = run(vector)
            for step, value in (got or {}).pop("intermediate", {}).items():
                self.assertEqual(vector["intermediate"][step], value, step)
            self.assertEqual(vector["expected"], got)

        name = "test_" + "_".join(file.with_suffix("").parts[-3:]).replace("-", "_")
        setattr(Vectors, name, test)
    assert len([n for n in dir(Vectors) if n.startswith("test_")]) > 400


_add_tests()

if __name__ == "__main__":
    unittest.main()
