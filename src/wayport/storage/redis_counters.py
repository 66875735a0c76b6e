"""The shared ledger of leases in Redis: one hash per window of a limit, changed by one script, so that no two claims mix.

What must stay true: after Redis has lost its data (its run id is another) nothing is granted until the nodes that live have
registered what they hold, or the lease time has passed.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import msgspec
import redis.asyncio as redis
from redis.exceptions import RedisError

from wayport.core.clock import Clock
from wayport.core.errors import Unavailable
from wayport.core.lease import Claim, Grant
from wayport.storage.database import Database
from wayport.storage.keyspace import prefix
from wayport.storage.nodes import Nodes
from wayport.storage.shared import Restate

log = logging.getLogger("wayport.storage")

LEASE_S = 30.0
_SLOT_S = 30.0
_TICK_S = 1.0
_TIMEOUT_S = 0.5
_KEEP_S = 30 * 86_400

_CLAIM = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local entry, epoch, mine = KEYS[1], KEYS[2], KEYS[3]
local node, kind, run = ARGV[1], ARGV[2], ARGV[3]
local limit, window, per_ms = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local held, busy, free = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local need, want = tonumber(ARGV[10]), tonumber(ARGV[11])
local lease_ms, slot_ms, keep_s, holders = tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14]), tonumber(ARGV[15])
local peers, spent = cjson.decode(ARGV[16]), cjson.decode(ARGV[17])

if redis.call('HGET', epoch, 'run') ~= run then
  redis.call('DEL', epoch)
  redis.call('HSET', epoch, 'run', run, 'since', now)
end
local since = tonumber(redis.call('HGET', epoch, 'since'))
local blocked = 0
if now < since + lease_ms then
  for _, peer in ipairs(peers) do
    if redis.call('HEXISTS', epoch, 'n:' .. peer) == 0 then blocked = 1 end
  end
end

local number = tonumber(redis.call('HGET', entry, 'number') or '0')
local ends = tonumber(redis.call('HGET', entry, 'ends') or '0')
local carried = tonumber(redis.call('HGET', entry, 'carried') or '0')
local rate = kind == 'requests' or kind == 'tokens'

local function add_up()
  local total, used, elsewhere = carried, carried, 0
  local fields = redis.call('HGETALL', entry)
  local of = {}
  for i = 1, #fields, 2 do of[fields[i]] = tonumber(fields[i + 1]) end
  for name, value in pairs(of) do
    if string.sub(name, 1, 2) == 'h:' then
      local whose = string.sub(name, 3)
      local till = of['u:' .. whose]
      if till and till < now then
        redis.call('HDEL', entry, 'h:' .. whose, 'b:' .. whose, 'f:' .. whose, 'u:' .. whose)
      else
        local open = (of['b:' .. whose] or 0) + (of['f:' .. whose] or 0)
        total = total + value
        used = used + value - open
        if whose ~= node then elsewhere = elsewhere + open end
      end
    end
  end
  return total, used, elsewhere
end

if rate and (number == 0 or now >= ends) then
  local over = 0
  if kind == 'tokens' and number > 0 then
    local total = add_up()
    over = math.max(0, total - limit * (1 + math.floor((now - ends) / per_ms)))
  end
  redis.call('DEL', entry)
  if window > 0 and number == 0 and held > 0 and tonumber(ARGV[18]) > 0 then
    number, ends = window, now + tonumber(ARGV[18])
  else
    number, ends = math.max(now, number + 1), now + per_ms
  end
  carried = over
  redis.call('HSET', entry, 'number', number, 'ends', ends, 'carried', carried)
elseif not rate and number == 0 then
  number = 1
  redis.call('HSET', entry, 'number', 1)
end

for name, amount in pairs(spent) do
  redis.call('HSETNX', entry, 'h:' .. name, amount)
end
if not rate or window == number then
  redis.call('HSET', entry, 'h:' .. node, held, 'b:' .. node, busy, 'f:' .. node, free)
  if kind == 'slots' then redis.call('HSET', entry, 'u:' .. node, now + slot_ms) end
end

local total, used, elsewhere = add_up()
local left = limit - total
local granted = 0
if need > 0 and blocked == 0 and left >= need then
  if left - need < math.max(2 * holders, math.floor(limit * 5 / 100)) then
    granted = need
  else
    granted = math.max(need, math.min(want, math.floor(left / (2 * holders))))
  end
  redis.call('HINCRBY', entry, 'h:' .. node, granted)
  redis.call('HINCRBY', entry, 'f:' .. node, granted)
  left = left - granted
  if kind == 'slots' then redis.call('HSET', entry, 'u:' .. node, now + slot_ms) end
end
if rate then
  redis.call('PEXPIREAT', entry, ends + 10 * per_ms)
else
  redis.call('EXPIRE', entry, keep_s)
  if kind == 'money' then
    redis.call('SADD', mine, ARGV[19])
    redis.call('EXPIRE', mine, keep_s)
  end
end
return {granted, number, rate and ends - now or -1, math.max(0, left), used, elsewhere, blocked}
"""

_REGISTER = """
if redis.call('HGET', KEYS[1], 'run') ~= ARGV[1] then
  local t = redis.call('TIME')
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'run', ARGV[1], 'since', t[1] * 1000 + math.floor(t[2] / 1000))
end
redis.call('HSET', KEYS[1], 'n:' .. ARGV[2], '1')
"""


class RedisCounters:
    def __init__(
        self,
        url: str,
        database: Database,
        *,
        node: str,
        clock: Clock,
        lease_s: float = LEASE_S,
    ) -> None:
        self._redis: Any = redis.Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, decode_responses=True
        )
        self._script = self._redis.register_script(_CLAIM)
        self._register = self._redis.register_script(_REGISTER)
        self._database = database
        self._prefix = ""
        self._node = node
        self._nodes = Nodes(database, node=node, clock=clock)
        self._lease_s = lease_s
        self._run = ""

    @property
    def prefix(self) -> str:
        """Of all our keys; empty before the first connection."""
        return self._prefix

    @property
    def others(self) -> list[str]:
        """Nodes that live, as far as is known."""
        return self._nodes.others

    def say_again(self) -> None:
        """Makes the next look at the other nodes happen at once."""
        self._nodes.forget()

    async def claim(self, holder: str, claim: Claim, *, spent: Mapping[str, int]) -> Grant:
        counter = claim.counter
        entry = f"{counter}@{claim.window if claim.kind == 'money' else 0}"
        try:
            if not self._run:
                await self._look()
            found = await self._script(
                keys=[f"{self._prefix}lease:{entry}", f"{self._prefix}epoch", f"{self._prefix}held:{holder}"],
                args=[
                    holder, claim.kind, self._run, claim.limit, claim.window, claim.per_s * 1000,
                    claim.held, claim.busy, claim.free, claim.need, claim.want,
                    int(self._lease_s * 1000), int(_SLOT_S * 1000), _KEEP_S, 1 + len(self._nodes.others),
                    msgspec.json.encode(self._nodes.others), msgspec.json.encode(dict(spent)),
                    int(claim.ends_in_s * 1000), entry,
                ],
            )  # fmt: skip
        except (RedisError, OSError, TimeoutError) as error:
            # It may be another one when it is back.
            self._run = ""
            raise Unavailable(f"Redis is away ({type(error).__name__})") from error
        granted, number, ends_ms, left, settled, elsewhere, blocked = found
        return Grant(
            counter=counter,
            window=number,
            ends_in_s=None if ends_ms < 0 else ends_ms / 1000,
            granted=granted,
            left=left,
            settled=settled,
            busy_elsewhere=elsewhere,
            unavailable="Redis has lost its data; the nodes are telling it what they hold"
            if blocked and claim.need
            else None,
        )

    async def held(self) -> list[tuple[str, int]]:
        try:
            if not self._prefix:
                await self._look()
            found = await self._redis.smembers(f"{self._prefix}held:{self._node}")
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"Redis is away ({type(error).__name__})") from error
        pairs = [name.rpartition("@") for name in found]
        return [(counter, int(window)) for counter, _, window in pairs]

    async def run(self, restate: Restate) -> None:
        try:
            while True:
                await self._nodes.say()
                try:
                    if not self._run:
                        await self._look()
                    known = await self._redis.hmget(f"{self._prefix}epoch", "run", f"n:{self._node}")
                    if known != [self._run, "1"]:
                        await restate()
                        await self._register(keys=[f"{self._prefix}epoch"], args=[self._run, self._node])
                except (RedisError, OSError, TimeoutError, Unavailable) as error:
                    self._run = ""
                    log.warning("Redis is away", extra={"error": str(error)[:200]})
                await asyncio.sleep(_TICK_S)
        finally:
            await self._redis.aclose()

    async def _look(self) -> None:
        """Which Redis this is: one that has restarted has another run id. Raises `Unavailable`."""
        if not self._prefix:
            self._prefix = await prefix(self._database)
        facts = await self._redis.info("server")
        self._run = str(facts["run_id"])

    async def close(self) -> None:
        await self._redis.aclose()
