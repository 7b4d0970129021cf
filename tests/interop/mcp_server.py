"""A server of tools, written with the library of the protocol's makers: by standard input and output, or over HTTP.

    mcp_server.py stdio | mcp_server.py PORT
"""

import os
import sys

from mcp.server.mcpserver import MCPServer

server = MCPServer("lab")


@server.tool()
def add(a: int, b: int) -> str:
    """Adds two whole numbers."""
    return f"{a} + {b} = {a + b}"


@server.tool()
def fail(why: str) -> str:
    """Fails for this reason."""
    raise RuntimeError(why)


@server.tool()
def die() -> str:
    """Ends the server in the middle of the call."""
    os._exit(3)


@server.tool()
def environment() -> str:
    """The names of the variables of the environment."""
    return " ".join(sorted(os.environ))


if sys.argv[1] == "stdio":
    server.run("stdio")
else:
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
