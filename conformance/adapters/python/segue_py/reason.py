"""The words in which a user says no: extension 1 of DECLINE (07-handoff, section 7.8)."""
from .registry import LIMIT
from .wire import Struct, forbidden

REASON = 1


def extensions(text):
    """The extensions of a DECLINE that gives this reason, without what it may not hold (HO-REASON-3)."""
    text = "".join(c for c in text or "" if not forbidden(c))[: LIMIT.MAX_REASON]
    return [Struct(id=REASON, bytes=text.encode())] if text else []


def read(message):
    """The reason that a DECLINE gives; None if it gives none that may be shown (HO-REASON-2)."""
    for ext in message.ext:
        if ext.id == REASON:
            try:
                text = ext.bytes.decode()
            except UnicodeDecodeError:
                return None
            return text if 1 <= len(text) <= LIMIT.MAX_REASON and not any(map(forbidden, text)) else None
    return None


def told(text):
    """The fields of the event that tells how a handoff ended."""
    return {"reason": text} if text else {}
