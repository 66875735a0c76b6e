"""Reaching every worker of a node: whom a connection is given to, the kernel decides."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import httpx
from tests.fakes.served import Served


async def vitals(wayport: Served) -> list[dict[str, Any]]:
    """Of each worker, a second old at most."""
    state = (await wayport.http.get("/health/control")).json()
    return [worker["vitals"] for worker in state["workers"] if worker["vitals"]]


async def of_both_workers(wayport: Served, stack: AsyncExitStack) -> list[httpx.AsyncClient]:
    """Clients that keep their connections, so many that each worker has one of them."""
    clients: list[httpx.AsyncClient] = []
    async with asyncio.timeout(20):
        while True:
            more = [
                httpx.AsyncClient(base_url=wayport.url, headers=wayport.http.headers, trust_env=False) for _ in range(6)
            ]
            for http in more:
                await stack.enter_async_context(http)
            await asyncio.gather(*(http.get("/health/liveliness") for http in more))
            clients += more
            known = await vitals(wayport)
            while sum(each["connections"] for each in known) < len(clients):
                await asyncio.sleep(0.05)
                known = await vitals(wayport)
            # One of the connections is that of `wayport.http`.
            if len(known) > 1 and all(each["connections"] > 1 for each in known):
                return clients
