"""Runs `async def` tests on uvloop, as in production; those marked `both_loops` on plain asyncio as well.

What a test opens it closes itself, by `async with`.
"""

import asyncio
import inspect
from collections.abc import Callable

import pytest
import uvloop
from hypothesis import HealthCheck, settings

# How fast examples come says more of the machine than of the code.
settings.register_profile("wayport", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("wayport")

_LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "both_loops: run the async test on uvloop and on plain asyncio")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("both_loops") and inspect.iscoroutinefunction(metafunc.function):
        metafunc.fixturenames.append("loop_name")
        metafunc.parametrize("loop_name", list(_LOOPS))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    callspec = getattr(pyfuncitem, "callspec", None)
    name = callspec.params.get("loop_name", "uvloop") if callspec else "uvloop"
    arguments = {arg: pyfuncitem.funcargs[arg] for arg in pyfuncitem._fixtureinfo.argnames}
    with asyncio.Runner(loop_factory=_LOOPS[name]) as runner:
        runner.run(pyfuncitem.obj(**arguments))
    return True
