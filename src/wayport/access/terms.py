"""What a key, a user, a team … may use at most, in the words of LiteLLM's management API; money is in dollars as told.

These are the stored spellings; `stored.py` makes of them what is enforced.
"""

LIMITS = frozenset(
    {
        "max_budget",
        "soft_budget",
        "budget_duration",
        "budget_limits",
        "calendar_aligned",
        "tpm_limit",
        "rpm_limit",
        "tpd_limit",
        "rpd_limit",
        "max_parallel_requests",
        "model_max_budget",
        "model_rpm_limit",
        "model_tpm_limit",
        "temp_budget_increase",
        "temp_budget_expiry",
        "anchor_s",
        "reset_s",
        "spend_before_nano_usd",
    }
)
"""the names; everything else that is said of a holder bounds nothing. `anchor_s` is when its budgets began (anew), and
`reset_s` when somebody reset its spend, `spend_before_nano_usd` what had been spent by then
"""

BUDGETS = frozenset({"max_budget", "budget_duration", "budget_limits", "model_max_budget"})
"""those whose change begins a new period where there was none"""
