"""Chapter transfer, section 8.1: chunk lists, ranges, and what is held of blobs."""
from . import wire
from .crypto import blob_id
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


def cut(content):
    """The encoding of the chunk list of a content; None if it needs none."""
    if len(content) <= LIMIT.CHUNK:
        return None
    size = chunk_len(len(content))
    pieces = [content[i : i + size] for i in range(0, len(content), size)]
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

    def _raw_run(self, blob):
        out = bytearray()
        for offset, raw in sorted(self._raw[blob].items()):
            if offset > len(out):
                break
            out[offset : offset + len(raw)] = raw
        return bytes(out)

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
