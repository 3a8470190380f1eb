"""Receipts of handoffs, and what they prove (07-handoff, section 7.14)."""
from . import crypto, wire
from .chain import Chain, GRANT, open_record
from .registry import Refused
from .wire import Struct, ascends


def _need(good, code, clause="HO-RECEIPT-1"):
    if not good:
        raise Refused(code, clause)


def verify(raw):
    """What a receipt proves; refused by the first that doesn't hold."""
    receipt = wire.decode("Receipt", raw)
    bodies = [open_record(signed) for signed in receipt.chain]
    want = wire.open_body("Want", receipt.want)
    wire.verify_signed("Want", receipt.want, want.target)
    said = wire.open_body("Statement", receipt.statement)
    wire.verify_signed("Statement", receipt.statement, said.by)
    want_id = wire.object_id("Want", receipt.want.body)
    at = next((i for i, body in enumerate(bodies) if body.want == want_id), None)
    _need(at is not None, "HO_NO_CONSENT")
    chain, ids = Chain(), []
    for signed, body in zip(receipt.chain, bodies):
        _need(not ids or body.parent == ids[-1], "HO_CHAIN")
        ids.append(chain.take(signed, body).id)
    record, rid = bodies[at], ids[at]
    consents = (want.target, want.parent, want.session) == (record.owner, record.parent, record.session)
    _need(record.kind == GRANT and consents, "HO_NO_CONSENT")
    source = bodies[at - 1].owner
    final = wire.open_body("Final", receipt.end)
    wire.verify_signed("Final", receipt.end, source)
    _need((final.parent, final.session) == (record.parent, record.session), "HO_FINAL")
    if receipt.ack:
        _need(receipt.ack.record == rid, "AUTH_SIGNATURE")
        crypto.verify(record.owner, b"segue/1 sig head" + rid, receipt.ack.sig)
    behind = bodies[at + 1 :]
    _need(len(behind) <= 1 and all(body.signer == record.grantor for body in behind), "HO_CHAIN")
    _need(receipt.ack or behind, "DATA_INCOMPLETE")
    about = (said.record, said.session) == (rid, record.session)
    _need(about and said.by in (source, record.owner), "HO_NOT_OWNER", "HO-RECEIPT-2")
    for tallies in (said.moved, said.left):
        _need(ascends([tally.kind for tally in tallies]), "WIRE_VALUE", "HO-RECEIPT-2")
    return Struct(record=rid, source=source, target=record.owner, by=said.by)
