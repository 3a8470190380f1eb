"""Chapter transfer, section 8.1: chunk lists, ranges, and what is held of blobs."""
from . import wire
from .crypto import H, blob_id
from .registry import LIMIT, Refused
from .wire import Struct


def check_list(length, chunks):
    """TRANSFER-LIST-1: (offset, length, hash) of each chunk of a listed blob."""
    plan, at = [], 0
    for i, chunk in enumerate(chunks):
        last = i == len(chunks) - 1
        if not 1 <= chunk.len <= LIMIT.MAX_CHUNK or not last and chunk.len < LIMIT.MIN_CHUNK:
            raise Refused("DATA_MANIFEST", "TRANSFER-LIST-1")
        plan.append((at, chunk.len, chunk.hash))
        at += chunk.len
    if length <= LIMIT.CHUNK or at != length:
        raise Refused("DATA_MANIFEST", "TRANSFER-LIST-1")
    return plan


def plan_from_list(length, raw):
    return check_list(length, wire.decode("ChunkList", raw).chunks)


def check_ranges(length, ranges):
    end = -1
    for r in ranges:
        if r.len == 0 or r.offset <= end or r.offset + r.len > length:
            raise Refused("WIRE_VALUE", "WIRE-VALUE-1")
        end = r.offset + r.len
    if not ranges:
        raise Refused("WIRE_VALUE", "WIRE-VALUE-1")


def chunk_len(length):
    size = LIMIT.CHUNK
    while length > 4 << 30 and size * LIMIT.MAX_CHUNKS < length:
        size *= 2
    return size


def gear_of(value):
    return int.from_bytes(H("segue/1 gear", bytes([value]))[:8], "big")


GEAR = [gear_of(value) for value in range(256)]


def lengths(length):
    """TRANSFER-CUT-1: the exponent and the shortest, middle and longest length; None beyond 16 GiB."""
    for e in range(16, 21):
        if length <= 1 << e + 14:
            return e, 1 << e - 2, 1 << e, 1 << e + 2
    return None


def end_of_chunk(content, start, e, shortest, middle, longest):
    if len(content) - start <= shortest:
        return len(content)
    total, mask = 0, (1 << 64) - 1
    for byte in content[start + shortest - 64 : start + shortest]:
        total = (total << 1) + GEAR[byte] & mask
    for place in range(start + shortest, min(len(content), start + longest)):
        if total >> (64 - e - 2 if place - start < middle else 64 - e + 2) == 0:
            return place
        total = (total << 1) + GEAR[content[place]] & mask
    return min(len(content), start + longest)


def cut(content):
    """The encoding of the chunk list of a content, cut by content; None if it needs none."""
    by = lengths(len(content))
    if len(content) <= LIMIT.CHUNK or by is None:
        return cut_equal(content)
    pieces, start = [], 0
    while start < len(content):
        end = end_of_chunk(content, start, *by)
        pieces.append(content[start:end])
        start = end
    return encode_list(pieces)


def cut_equal(content):
    """The same in equal chunks."""
    if len(content) <= LIMIT.CHUNK:
        return None
    size = chunk_len(len(content))
    return encode_list([content[i : i + size] for i in range(0, len(content), size)])


def encode_list(pieces):
    return wire.encode("ChunkList", Struct(chunks=[Struct(len=len(p), hash=blob_id(p)) for p in pieces]))


class Blobs:
    """What a device holds of blobs, verified."""

    def __init__(self, dev, slices):
        self.dev = dev
        self.whole = {}
        self.partial = {}  # blob -> {offset: bytes}, verified chunks
        self.chunks = {}  # hash of a chunk -> its bytes
        self._raw = {}  # blob -> {offset: bytes} of the disk, to be verified by a chunk list
        for s in slices:
            self._raw.setdefault(bytes.fromhex(s["blob"]), {})[s["offset"]] = bytes.fromhex(s["bytes"])
        for blob in list(self._raw):
            content = self._raw_run(blob)
            if blob_id(content) == blob:
                self.whole[blob] = content
                del self._raw[blob]
        for raw in list(self.whole.values()):
            self.index(raw)

    def _raw_run(self, blob):
        out = bytearray()
        for offset, raw in sorted(self._raw[blob].items()):
            if offset > len(out):
                break
            out[offset : offset + len(raw)] = raw
        return bytes(out)

    def index(self, raw):
        """TRANSFER-REUSE-1: if these bytes are a chunk list, notes the chunks of the content that it fits."""
        try:
            chunks = wire.decode("ChunkList", raw).chunks
        except Refused:
            return
        length = sum(chunk.len for chunk in chunks)
        for content in [content for content in self.whole.values() if chunks and len(content) == length]:
            at = 0
            for chunk in chunks:
                piece = content[at : at + chunk.len]
                if blob_id(piece) == chunk.hash:
                    self.chunks[chunk.hash] = piece
                at += chunk.len

    def get(self, blob):
        return self.whole.get(blob)

    def put(self, blob, content):
        """A whole blob of this device's own, or a verified one."""
        if blob not in self.whole and content:
            self.dev.out.chunk(blob, 0, content)
        self.whole[blob] = content

    def put_chunk(self, blob, offset, raw, hash_):
        self.chunks[hash_] = raw
        self.partial.setdefault(blob, {})[offset] = raw
        self.dev.out.chunk(blob, offset, raw)

    def look_for(self, blob, plan):
        """Chunks of a blob that are held already, in whatever place."""
        held = self.partial.setdefault(blob, {})
        raw = self._raw.pop(blob, {})
        for offset, size, hash_ in plan:
            if offset in held:
                continue
            for start, piece in raw.items():
                if start <= offset and offset + size <= start + len(piece):
                    found = piece[offset - start : offset - start + size]
                    if blob_id(found) == hash_:
                        held[offset] = self.chunks[hash_] = found
            if offset not in held and hash_ in self.chunks:
                self.put_chunk(blob, offset, self.chunks[hash_], hash_)

    def finish(self, blob, plan):
        """Puts a blob together whose chunks are all there; False if the whole isn't the blob (TRANSFER-WHOLE-1)."""
        held = self.partial.pop(blob)
        content = b"".join(held[offset] for offset, _, _ in plan)
        if blob_id(content) != blob:
            return False
        self.whole[blob] = content
        return True
