"""The contents of files that sync told of (SYNC-CONTENT-1): each is got from some device that takes part."""
from . import data
from .registry import LIMIT


class Contents:
    def __init__(self, dev):
        self.dev = dev
        self.flying = {}  # (session, blob) -> Fetch
        self.tried = {}  # (session, blob) -> devices that didn't have it lately
        self.tellers = {}  # session -> the device that told of a file last

    def lacking(self, session):
        return [e for _, _, e in session.copy.entries() if e.mode < data.DIRECTORY and e.len and self.dev.blobs.get(e.blob) is None]

    def want(self, session):
        """Asks for what is lacking, as much at a time as a fetch may."""
        peers = [k.peer for k in self.dev.ready_links() if self.dev.sync.shares(k, session)]
        peers.sort(key=lambda p: p != self.tellers.get(session.id))
        pause = False
        for entry in self.lacking(session):
            key = (session.id, entry.blob)
            if len([k for k in self.flying if k[0] == session.id]) >= LIMIT.FETCH_WINDOW:
                return
            if key in self.flying:
                continue
            untried = [p for p in peers if p not in self.tried.get(key, ())]
            if untried:
                self._fetch(session, entry, untried[0])
            else:
                pause = True
        if pause and peers:
            self.dev.set_timer(("content", session.id), self.dev.now + LIMIT.CONTENT_DELAY, lambda: self._again(session))

    def _again(self, session):
        self._forget_tried(lambda key: key[0] == session.id)
        self.want(session)

    def _forget_tried(self, which):
        self.tried = {k: v for k, v in self.tried.items() if not which(k)}

    def _fetch(self, session, entry, peer):
        key = (session.id, entry.blob)

        def over(failed):
            if self.flying.get(key) is not fetch:
                return
            del self.flying[key]
            if failed:
                self.tried.setdefault(key, set()).add(peer)
            else:
                self.tried.pop(key, None)
                self.dev.store.after_chunks()
                self.dev.handoff.data_changed(session)
                self.dev.sync.tell_whole(session)
            self.want(session)

        fetch = self.flying[key] = self.dev.transfer.fetch(session.id, peer, lambda: over(False), lambda code: over(True))
        fetch.want_entries([entry])

    def link_ready(self, link):
        for session in list(self.dev.sessions.values()):
            if self.dev.sync.shares(link, session):
                for peers in self.tried.values():
                    peers.discard(link.peer)
                self.want(session)

    def link_over(self, link):
        for key, fetch in list(self.flying.items()):
            if fetch.source == link.peer:
                fetch.stop()
                del self.flying[key]
        for session in list(self.dev.sessions.values()):
            if session.takes_part:
                self.want(session)
