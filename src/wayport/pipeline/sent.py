"""What has been sent for a call on the straight way, for the long way to go on from."""

from msgspec import Struct

from wayport.pipeline.prepare import Prepared
from wayport.upstream.answer import Answer
from wayport.upstream.faults import TransportFault


class Sent(Struct, eq=False):
    """With neither answer nor fault: it died on a reused connection before a byte of an answer came, and is to be sent again."""

    prepared: Prepared
    answer: Answer | None = None
    fault: TransportFault | None = None
