"""Speaks tier B of conformance/ADAPTER.md over standard input and output: devices of segue_py on real QUIC. What is asked
as in tier A goes to adapter.py, so that one command serves both. Written from the specification alone."""
import asyncio
import json
import sys
import traceback

import adapter
import quic
from segue_py.registry import Refused


class QuicAdapter(adapter.Adapter):
    def __init__(self):
        super().__init__()
        self.endpoints = {}

    async def serve(self, q):
        cmd, endpoint = q["cmd"], self.endpoints.get(q.get("dev"))
        if cmd == "hello":
            ok = self.answer(q)["ok"]
            return {"ok": {**ok, "commands": [*ok["commands"], "dial"], "tiers": ["A", "B"]}}
        if cmd == "new" and "listen" in q:
            endpoint = self.endpoints[q["dev"]] = quic.Endpoint(q["start"]["setup"])
            return {"ok": {"out": {}, "listening": await endpoint.listen(q["listen"])}}
        if endpoint is None:
            return self.answer(q)
        if cmd == "do":
            return {"ok": {"out": {}, **await self.ask(endpoint, q["do"])}}
        if cmd == "input":
            told = await endpoint.wait(q["input"]["ms"])
            return {"ok": {"out": {"events": [shown(event) for event in told]} if told else {}}}
        if cmd == "inspect":
            return {"ok": endpoint.device.inspect()}
        if cmd == "bye":
            self.endpoints.pop(q["dev"]).end()
            return {"ok": {}}
        return {"unsupported": f"there is no request {cmd}"}

    async def ask(self, endpoint, do):
        if do["type"] == "dial":
            await endpoint.dial(do["device"], do["addr"])
            return {"reply": {}}
        try:
            reply = endpoint.step(lambda: endpoint.device.ask(adapter.Do(endpoint.device), do))
        except Refused as e:
            return {"refused": {"code": e.code, "text": e.text}}
        return {"reply": reply or {}}


def shown(event):
    """An event as the protocol has it: links have no numbers there."""
    if "from_" in event:
        event["from"] = event.pop("from_")
    if "link" in event:
        event["link"] = 0
    return event


async def main():
    serving, loop = QuicAdapter(), asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        q = json.loads(line)
        try:
            answer = await serving.serve(q)
        except Exception as why:
            traceback.print_exc()
            answer = {"error": {"code": "STORE_IO", "text": f"the adapter failed: {why!r}"}}
        print(json.dumps({"id": q["id"], **answer}, separators=(",", ":")), flush=True)
        if q["cmd"] == "bye" and "dev" not in q:
            for endpoint in serving.endpoints.values():
                endpoint.end()
            break


if __name__ == "__main__":
    asyncio.run(main())
