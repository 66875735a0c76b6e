"""A callable of the operator's: `module.name`, called with a list of payloads; or an object with LiteLLM's two methods.

It runs in the control process, in a thread unless it is `async`, so it slows no call; its mistakes cost its own batch.
"""

import asyncio
import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wayport.core.record import CallRecord
from wayport.observe.payload import Payload, payload_of, succeeded


class CallableMistake(ValueError):
    """There is no such callable."""


class Custom:
    def __init__(self, name: str, target: Any) -> None:
        self.name = name
        self._target = target

    async def deliver(self, records: Sequence[CallRecord]) -> None:
        payloads = [payload_of(record) for record in records]
        if hasattr(self._target, "async_log_success_event"):
            for record, payload in zip(records, payloads, strict=True):
                await self._as_litellm(record, payload)
            return
        await _called(self._target, payloads)

    async def close(self) -> None:
        """It is not ours to close."""

    async def _as_litellm(self, record: CallRecord, payload: Payload) -> None:
        """The four arguments of LiteLLM's `CustomLogger`: what it was called with, the answer, start and end."""
        kwargs = {
            "standard_logging_object": payload,
            "model": payload["model"],
            "litellm_call_id": record.call_id,
            "response_cost": payload["response_cost"],
            "litellm_params": {"metadata": payload["metadata"]},
            "exception": payload["error_str"],
        }
        start = datetime.fromtimestamp(record.started_s, tz=UTC)
        end = datetime.fromtimestamp(record.ended_s, tz=UTC)
        method = "async_log_success_event" if succeeded(record) else "async_log_failure_event"
        await _called(getattr(self._target, method), kwargs, None, start, end)


def load(name: str, folder: Path | None) -> Custom:
    """`module.name`; the module may lie beside the configuration. Raises `CallableMistake`."""
    module_name, _, attribute = name.rpartition(".")
    if folder is not None and str(folder) not in sys.path:
        sys.path.append(str(folder))
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:
        raise CallableMistake(f"{name} cannot be imported ({type(error).__name__}: {error})") from error
    if inspect.isclass(found):
        found = found()
    if not callable(found) and not hasattr(found, "async_log_success_event"):
        raise CallableMistake(f"{name} is nothing that can be called")
    return Custom(name, found)


async def _called(target: Callable[..., Any], *arguments: Any) -> None:
    if inspect.iscoroutinefunction(target):
        await target(*arguments)
        return
    answer = await asyncio.to_thread(target, *arguments)
    if inspect.isawaitable(answer):
        await answer
