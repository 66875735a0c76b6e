"""What an upstream is told of the trace that a call belongs to (W3C Trace Context)."""

from wayport.core.trace import in_share, is_state, parent_of, span_of_attempt, trace_of
from wayport.pipeline.call import Call


class TraceContext:
    """`share`: of the traces, how many spans of ours are exported; None: of none, and the client's context goes on as it
    came. A worker that tells upstreams nothing has none of these.
    """

    def __init__(self, share: float | None) -> None:
        self._share = share

    def lines(self, call: Call) -> bytes:
        """The header lines for the call's present attempt, which must be the last of `call.attempts`."""
        header = call.client.header
        stated = header(b"traceparent")
        continued = stated is not None and parent_of(stated) is not None
        if self._share is not None:
            trace = trace_of(call.trace_id, call.id)
            span = span_of_attempt(call.id, len(call.attempts) - 1)
            parent = f"00-{trace}-{span}-{'01' if in_share(trace, self._share) else '00'}".encode()
        elif stated is not None and continued:
            parent = stated
        else:
            return b""
        state = header(b"tracestate") if continued else None
        if state is None or not is_state(state):
            return b"traceparent: %b\r\n" % parent
        return b"traceparent: %b\r\ntracestate: %b\r\n" % (parent, state)
