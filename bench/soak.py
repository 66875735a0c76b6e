"""Whether memory stays flat: `python -m bench.soak [--calls N] [--clients N]`. Prints the slope of each process.

Starts `wayport serve` on SQLite, asks the built-in echo model again and again (every second call streamed), and reads the
resident memory of worker and control process as it goes. The slope is that of the second half, by least squares.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import httpx
import uvloop

ASK = {
    "model": "wayport/echo",
    "messages": [{"role": "user", "content": "Hello " * 100}],
    "user": "soak",
    "tags": ["a"],
}


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def slope(points: list[tuple[int, int]]) -> float:
    """Bytes per call."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def children(pid: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            words = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
            for name in ("server.worker", "control.main"):
                if any(name in word for word in words):
                    found[name] = int(child)
    return found


async def drive(url: str, key: str, calls: int, clients: int, pids: dict[str, int]) -> None:
    done = 0
    samples: dict[str, list[tuple[int, int]]] = {name: [] for name in pids}
    every = max(1, calls // 50)
    began_s = time.perf_counter()

    async def client(number: int) -> None:
        nonlocal done
        headers = {"authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as http:
            while done < calls:
                answer = await http.post(
                    "/v1/chat/completions", json={**ASK, "stream": number % 2 == 0}, headers=headers
                )
                answer.raise_for_status()
                done += 1
                if done % every == 0:
                    for name, pid in pids.items():
                        samples[name].append((done, resident_bytes(pid)))

    await asyncio.gather(*(client(number) for number in range(clients)))
    took_s = time.perf_counter() - began_s
    print(f"{done:,} calls in {took_s:.0f} s ({done / took_s:.0f}/s)")
    print("| process | at first MB | at last MB | slope bytes per call |\n|---|---|---|---|")
    for name, points in samples.items():
        half = points[len(points) // 2 :]
        print(f"| {name} | {points[0][1] / 1e6:.1f} | {points[-1][1] / 1e6:.1f} | {slope(half):.2f} |")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=16)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "wayport.cli.main", "serve", "--port", "0", "--data-dir", folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            line = ""
            while " on http" not in line:
                line = (await process.stdout.readline()).decode()
            url = line.split(" on ")[1].split()[0]
            swallow = asyncio.ensure_future(_swallow(process.stdout))
            await asyncio.sleep(2)
            key = (Path(folder) / "master_key").read_text().strip()
            await drive(url, key, given.calls, given.clients, children(process.pid))
            swallow.cancel()
        finally:
            process.send_signal(signal.SIGTERM)
            await process.wait()


async def _swallow(stream: asyncio.StreamReader) -> None:
    while await stream.read(65536):
        pass


if __name__ == "__main__":
    uvloop.run(main())
