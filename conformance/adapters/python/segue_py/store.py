"""The journal: keys and values, written in batches, of which a device is told when they are durable."""


class Store:
    def __init__(self, entries, last):
        self.entries = dict(entries)
        self.last = last  # the LSN of the last batch
        self.durable = last
        self._writes = {}
        self._after_chunks = False
        self._waiting = []  # (lsn or None for the batch to come, function)

    def put(self, key, value):
        if self.entries.get(key) != value:
            self.entries[key] = value
            self._writes[key] = value

    def delete(self, key):
        if self.entries.pop(key, None) is not None:
            self._writes[key] = None

    def under(self, prefix):
        """(key without the prefix, value) of all keys that begin so."""
        return [(k[len(prefix):], v) for k, v in sorted(self.entries.items()) if k.startswith(prefix)]

    def after_chunks(self):
        """The batch to come counts only once all chunks that were put out are durable."""
        self._after_chunks = True
        self._writes[b"chunks"] = (self.last + 1).to_bytes(8, "big")

    def when_durable(self, function):
        """Calls the function once all that was written before is durable."""
        self._waiting.append((None, function))

    def flush(self):
        """The batch of what was written since the last one, or None."""
        batch = None
        if self._writes:
            self.last += 1
            writes = [{"key": k.hex()} if v is None else {"key": k.hex(), "value": v.hex()} for k, v in self._writes.items()]
            batch = {"lsn": self.last, "writes": writes, "after_chunks": self._after_chunks}
            self._writes, self._after_chunks = {}, False
        self._waiting = [(self.last if lsn is None else lsn, f) for lsn, f in self._waiting]
        return batch

    def ready(self):
        """Takes out the functions whose batch is durable."""
        ready = [f for lsn, f in self._waiting if lsn is not None and lsn <= self.durable]
        self._waiting = [w for w in self._waiting if w[0] is None or w[0] > self.durable]
        return ready
