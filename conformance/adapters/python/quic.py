"""Binds a device to QUIC as spec/13-transport.md says, with aioquic; written from the specification alone.

The device itself does no I/O: it takes bytes, time and the fate of its links, and says what is to be sent. An Endpoint
gives it what it needs of the world: a clock, a store, a socket on which it is called, and connections that it dials.
"""
import asyncio
import datetime
import ipaddress
import os
import ssl
import time

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicErrorCode, QuicProtocolVersion
from aioquic.tls import Epoch, hkdf_expand_label
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from segue_py.device import Device
from segue_py.registry import LIMIT, code_bytes, code_name

ALPN = "segue/1"
CONTROL = 0  # the first bidirectional stream of the initiator
BULK_STREAMS = 16  # that the peer may have open; what a packet is saved for leaves it at least half of them
CREDIT = 2 * LIMIT.MAX_PREAUTH  # of flow control, before AUTH
SECOND = 1_000_000


# --- TLS and QUIC as the chapter wants them


def configuration(is_client):
    chosen = QuicConfiguration(
        is_client=is_client,
        alpn_protocols=[ALPN],
        supported_versions=[QuicProtocolVersion.VERSION_1],
        idle_timeout=LIMIT.IDLE / SECOND + 15,  # TRANSPORT-IDLE-1
        max_data=CREDIT,  # TRANSPORT-LIMIT-1
        max_stream_data=CREDIT,
    )
    if is_client:
        # TRANSPORT-CERT-1: any certificate will do. That its key signed the handshake is checked all the same.
        chosen.verify_mode = ssl.CERT_NONE
        chosen.server_name = "segue.invalid"
    else:
        chosen.private_key = ec.generate_private_key(ec.SECP256R1())
        chosen.certificate = certificate(chosen.private_key)
    return chosen


def certificate(key):
    """A certificate for a key that is as new as it is, with nothing in it that tells who made it."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "segue.invalid")])
    today = datetime.datetime.combine(datetime.date.today(), datetime.time())
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(today - datetime.timedelta(days=2))
    return builder.not_valid_after(today + datetime.timedelta(days=3650)).sign(key, hashes.SHA256())


class Quic:
    """What aioquic has no option for, on one of its connections that has not begun."""

    def __init__(self, connection, is_client):
        self.connection = connection
        self._exporter = None
        self._update_traffic_key = connection._update_traffic_key
        connection._update_traffic_key = self._on_traffic_key
        limit(connection._local_max_streams_bidi, 0 if is_client else 1)  # TRANSPORT-STREAM-1
        limit(connection._local_max_streams_uni, 0)  # TRANSPORT-STREAM-4

    def _on_traffic_key(self, direction, epoch, cipher_suite, secret):
        # When the first key for data is made, the transcript ends with the server's Finished: the place at which
        # RFC 8446, section 7.1, has the exporter's secret.
        if epoch == Epoch.ONE_RTT and self._exporter is None:
            self._exporter = self.connection.tls.key_schedule.derive_secret(b"exp master")
        self._update_traffic_key(direction, epoch, cipher_suite, secret)

    def binding(self):
        """TRANSPORT-BIND-1, by RFC 8446, section 7.5."""
        algorithm = self.connection.tls.key_schedule.algorithm
        empty = hashes.Hash(algorithm).finalize()
        secret = hkdf_expand_label(algorithm, self._exporter, b"EXPORTER-segue-1", empty, algorithm.digest_size)
        return hkdf_expand_label(algorithm, secret, b"exporter", empty, 32)

    def permit_bulk(self):
        """The peer proved who it is: it may open bulk streams, and send more."""
        self.connection._local_max_streams_uni.value += BULK_STREAMS
        self.connection._local_max_data.value += 1 << 20

    def is_sending(self, stream):
        """Whether something of a stream, or its end, waits to be sent, and the peer hasn't stopped it."""
        held = self.connection._streams.get(stream)
        sender = held.sender if held else None
        return sender is not None and sender._reset_error_code is None and (len(sender._pending) > 0 or sender._pending_eof)

    def backlog(self, stream):
        """How many bytes of a stream the peer and the path haven't let us send."""
        held = self.connection._streams.get(stream)
        return sum(r.stop - r.start for r in held.sender._pending) if held else 0

    def closed_by_peer(self):
        """The peer's CONNECTION_CLOSE as soon as it came; aioquic tells of it at the end of draining."""
        return self.connection._close_event


def limit(of_streams, value):
    of_streams.value = of_streams.sent = value


# --- A connection, which carries one link


class Connection(QuicConnectionProtocol):
    def __init__(self, endpoint, quic, expect=None):
        super().__init__(quic)
        self.endpoint, self.quic, self.expect = endpoint, Quic(quic, quic.configuration.is_client), expect
        self.is_client = quic.configuration.is_client
        self.number = endpoint.add(self)
        self.stream = None  # the control stream, once it is there
        self.permitted = False
        # TRANSPORT-LIMIT-1, and then for a responder TRANSPORT-STREAM-1
        self._patience = endpoint.loop.call_later(LIMIT.AUTH_TIMEOUT / SECOND, self._late)

    # what comes

    def datagram_received(self, data, addr):
        super().datagram_received(data, addr)
        if over := self.quic.closed_by_peer():
            self._over(over)

    def quic_event_received(self, event):
        match event:
            case events.HandshakeCompleted():
                self._patience.cancel()
                if self.is_client:
                    self._up(self._quic.get_next_available_stream_id())
                else:
                    self._patience = self.endpoint.loop.call_later(LIMIT.HELLO_TIMEOUT / SECOND, self._late)
            case events.StreamDataReceived() if event.stream_id == CONTROL:
                if self.stream is None:
                    self._patience.cancel()
                    self._up(CONTROL)
                if event.data:
                    self._tell("bytes", bytes=event.data.hex())
                if event.end_stream:
                    self.lost()
            case events.StreamReset() if event.stream_id == CONTROL:
                self.lost()
            case events.StreamDataReceived():
                self._tell("bulk", stream=event.stream_id, bytes=event.data.hex(), fin=event.end_stream)
            case events.StreamReset():
                self._tell("bulk-reset", stream=event.stream_id)
            case events.ConnectionTerminated():
                self._over(event)
                self.endpoint.remove(self)
                if self.is_client:
                    self._transport.close()

    def _tell(self, kind, **fields):
        self.endpoint.step(lambda: self.endpoint.device.input({"type": kind, "link": self.number, **fields}))

    def _up(self, stream):
        self.stream = stream
        role = "initiator" if self.is_client else "responder"
        self._tell("link-up", role=role, binding=self.quic.binding().hex(), expect=self.expect)

    def _late(self):
        """The handshake, or the control stream, didn't come in time."""
        self.close("LIMIT_PROGRESS")

    def lost(self):
        """TRANSPORT-STREAM-2: the control stream ended; the link is down, and so the connection is of no more use."""
        self.endpoint.link_down(self, "LINK_LOST")
        self.close("LINK_SHUTDOWN")

    def _over(self, event):
        """TRANSPORT-CLOSE-1: the code with which the connection ended, whoever ended it."""
        self._patience.cancel()
        if event.frame_type is None and event.error_code < 1 << 16:
            code = code_name(event.error_code.to_bytes(2, "big"))
        elif event.error_code == QuicErrorCode.INTERNAL_ERROR and event.reason_phrase == "Idle timeout":
            code = "LIMIT_IDLE"
        else:
            code = "LINK_LOST"
        self.endpoint.link_down(self, code)

    # what goes

    def write(self, raw):
        try:
            self._quic.send_stream_data(self.stream, raw)
        except (RuntimeError, ValueError):
            pass  # the peer stopped the stream, and may still say why (TRANSPORT-STREAM-2)

    def write_bulk(self, streams, number, raw, fin):
        stream = streams.setdefault(number, self._quic.get_next_available_stream_id(is_unidirectional=True))
        self._quic.send_stream_data(stream, raw, fin)

    def stop_bulk(self, stream, code):
        try:
            self._quic.stop_stream(stream, int.from_bytes(code_bytes(code), "big"))
        except ValueError:
            pass  # it has ended

    def close(self, code="LINK_SHUTDOWN"):
        self.transmit()  # what waits, as far as it can go at once; behind the close nothing goes
        super().close(int.from_bytes(code_bytes(code), "big"))


class Full(Exception):
    """No further connection is taken."""


class Server(QuicServer):
    def datagram_received(self, data, addr):
        try:
            super().datagram_received(data, addr)
        except Full:
            pass


# --- A device and its world


class Endpoint:
    """A device with a clock, an entropy, a store and a socket of its own. The store is memory: it ends with the device."""

    def __init__(self, setup):
        self.loop = asyncio.get_running_loop()
        self.connections = {}
        self.bulk = {}  # number of a connection -> the streams of the device there, by the device's numbers
        self._numbers = 0
        self._timer = None
        self.events, self._news = [], asyncio.Event()
        wall = int(time.time() * 1000) - self.now() // 1000 + setup.get("wall_offset_ms", 0)
        start = {"setup": {**setup, "wall_offset_ms": wall}, "entropy": os.urandom(32).hex()}
        self.device = Device(self.now(), start, False)
        self.device.transfer.ended = self._bulk_ended
        self.device.finish_start()
        self._carry_out()

    def now(self):
        return int(self.loop.time() * SECOND)

    async def listen(self, addr):
        """Takes calls at an address; the one that it became."""
        self._server, _ = await self.loop.create_datagram_endpoint(
            lambda: Server(configuration=configuration(False), create_protocol=self._accept), local_addr=split(addr)
        )
        host, port = self._server.get_extra_info("sockname")[:2]
        return join(host, port)

    def _accept(self, quic, **_):
        if len(self.connections) >= LIMIT.MAX_LINKS:  # TRANSPORT-LIMIT-1
            raise Full
        return Connection(self, quic)

    async def dial(self, device, addr):
        host, port = split(addr)
        own = "::" if ipaddress.ip_address(host).version == 6 else "0.0.0.0"
        _, connection = await self.loop.create_datagram_endpoint(
            lambda: Connection(self, QuicConnection(configuration=configuration(True)), device), local_addr=(own, 0)
        )
        connection.connect((host, port))

    def add(self, connection):
        self._numbers += 1
        self.connections[self._numbers] = connection
        self.bulk[self._numbers] = {}
        return self._numbers

    def remove(self, connection):
        self.connections.pop(connection.number, None)
        self.bulk.pop(connection.number, None)

    def link_down(self, connection, code):
        def down():
            link = self.device.links.pop(connection.number, None)
            if link:
                link.down(code)

        if connection.number in self.device.links:
            self.step(down)

    def _bulk_ended(self, number, stream):
        """Whether a stream of the device on a connection is sent to its end. One that wasn't carried out yet isn't."""
        streams, connection = self.bulk.get(number, {}), self.connections.get(number)
        if stream in streams and not (connection and connection.quic.is_sending(streams[stream])):
            del streams[stream]
            return True
        return False

    # --- the device

    def step(self, action):
        """Has the device do something, and carries out what it says because of it."""
        try:
            result = self.device.step(self.now(), action)
            return result() if callable(result) else result
        finally:
            self._carry_out()

    def _carry_out(self):
        stops, out = self.device.out.stops, self.device.result()
        touched = set()
        control = {}
        for number, raw in out.get("control", []):
            control.setdefault(number, []).append(raw)
        for number, frames in control.items():
            if connection := self.connections.get(number):
                connection.write(bytes.fromhex("".join(frames)))
                touched.add(connection)
        for b in out.get("bulk", []):
            if connection := self.connections.get(b["link"]):
                connection.write_bulk(self.bulk[b["link"]], b["stream"], bytes.fromhex(b["bytes"]), b["fin"])
                touched.add(connection)
        for number, stream, code in stops:
            if connection := self.connections.get(number):
                connection.stop_bulk(stream, code)
                touched.add(connection)
        self._tell(out.get("events", []))
        self._wake_at(out.get("timeout"))
        for number, code in out.get("closes", []):
            if connection := self.connections.get(number):
                connection.close(code)
                touched.discard(connection)
                self.link_down(connection, code)
        for connection in touched:
            self._look_after(connection)
        if batches := out.get("batches"):
            self.step(lambda: self.device.input({"type": "durable", "lsn": batches[-1]["lsn"]}))

    def _look_after(self, connection):
        link = self.device.links.get(connection.number)
        if link and link.ready and not connection.permitted:
            connection.permitted = True
            connection.quic.permit_bulk()
        connection.transmit()
        if link and connection.quic.backlog(CONTROL) > LIMIT.MAX_QUEUE:
            self.step(lambda: link.end("LIMIT_QUEUE", "LINK-QUEUE-1"))

    def _wake_at(self, at):
        if self._timer:
            self._timer.cancel()
        self._timer = self.loop.call_at(at / SECOND, self._wake) if at is not None else None

    def _wake(self):
        self.step(lambda: self.device.input({"type": "time"}))

    # --- the application

    def _tell(self, told):
        self.events += told
        if told:
            self._news.set()

    async def wait(self, ms):
        """The events that weren't told yet, as soon as there are some."""
        try:
            await asyncio.wait_for(self._news.wait(), ms / 1000)
        except TimeoutError:
            pass
        self._news.clear()
        told, self.events = self.events, []
        return told

    def end(self):
        self.step(self.device.shutdown)
        if self._timer:
            self._timer.cancel()
        for connection in list(self.connections.values()):
            connection.close()
            if connection.is_client:
                connection._transport.close()
        self._server.close()


def split(addr):
    host, port = addr.rsplit(":", 1)
    return host.strip("[]"), int(port)


def join(host, port):
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
