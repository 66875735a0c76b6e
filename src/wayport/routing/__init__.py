"""Where a call goes: plan, health, retry. No I/O."""
