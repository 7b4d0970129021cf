"""A session server with a script: calls the tools it is told to call, one after the other, and prints what came of it.

    mcp_session.py PORT < calls      one call per line: {"name": ..., "arguments": {...}}

What it prints is one line of JSON each: first the tools the session was offered, then each result.
"""

import asyncio
import json
import sys

from websockets.asyncio.server import serve


def say(line):
    print(json.dumps(line), flush=True)


async def session(socket):
    async def send(**event):
        await socket.send(json.dumps(event))

    async def hear(wanted):
        async for text in socket:
            event = json.loads(text)
            if wanted(event):
                return event
        raise EOFError

    await send(type="session.created", session={})
    asked = (await hear(lambda event: event["type"] == "session.update"))["session"]
    await send(type="session.updated", session=asked)
    say({"tools": {tool["name"]: tool for tool in asked["tools"]}})
    number = 0
    while line := await asyncio.to_thread(sys.stdin.readline):
        call, number = json.loads(line), number + 1
        response = f"resp_{number}"
        about = {"response_id": response, "item_id": f"item_{number}", "output_index": 0, "call_id": f"call_{number}"}
        arguments = json.dumps(call["arguments"])
        await send(type="response.created", response={"id": response})
        await send(type="response.function_call_arguments.delta", delta=arguments, **about)
        await send(type="response.function_call_arguments.done", name=call["name"], arguments=arguments, **about)
        await send(type="response.done", response={"id": response})
        result = await hear(lambda event: event.get("item", {}).get("call_id") == about["call_id"])
        say({"output": result["item"]["output"]})


async def main():
    async with serve(session, "127.0.0.1", int(sys.argv[1])) as server:
        await server.serve_forever()


asyncio.run(main())
