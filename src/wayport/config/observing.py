"""Settings of what is told of calls: metrics, kept bodies, retention, alerts."""

from typing import Literal

from msgspec import Struct

from wayport.core.secret import Secret


class MetricsSettings(Struct, kw_only=True, frozen=True):
    require_key: bool = True
    max_series: int = 10_000
    end_user: bool = False
    client_ip: bool = False
    user_agent: bool = False


class TracingSettings(Struct, kw_only=True, frozen=True):
    propagate: Literal["never", "traced", "client"] = "traced"


class BodiesSettings(Struct, kw_only=True, frozen=True):
    store: bool | Literal["keys"] = False
    max_bytes: int = 256 * 1024
    redact: tuple[str, ...] = ()
    keep_days: float = 30.0
    max_total_bytes: int = 10 * 1024**3


class RetentionSettings(Struct, kw_only=True, frozen=True):
    calls_days: float | None = None
    """None: for good"""
    every_s: float = 3600.0
    batch: int = 1_000


AlertKind = Literal["webhook", "slack", "email"]


class AlertTarget(Struct, kw_only=True, frozen=True):
    kind: AlertKind
    url: Secret = Secret("")
    """of a webhook; a Slack webhook's URL is itself a secret. Empty: `SLACK_WEBHOOK_URL` or `WEBHOOK_URL`"""
    secret: Secret = Secret("")
    """signs webhooks"""
    to: tuple[str, ...] = ()
    """e-mail addresses; none: `ALERT_EMAILS`"""


class SmtpSettings(Struct, kw_only=True, frozen=True):
    """Without a host: the variables `SMTP_HOST`, `SMTP_PORT`, `SMTP_USERNAME` …"""

    host: str = ""
    port: int = 587
    user: str = ""
    password: Secret = Secret("")
    sender: str = ""
    tls: bool = True


class AlertSettings(Struct, kw_only=True, frozen=True):
    targets: tuple[AlertTarget, ...] = ()
    smtp: SmtpSettings = SmtpSettings()
    budget_shares: tuple[float, ...] = (0.8, 1.0)
    error_rate: float = 0.25
    """of the calls of five minutes"""
    slow_s: float = 60.0
    """mean duration of a deployment's calls in five minutes"""
    least_calls: int = 20
    """below this nothing is said of rates"""
    backlog_bytes: int = 64 * 1024 * 1024
    anomaly_factor: float = 5.0
    repeat_s: float = 3600.0
    """the same alert is not sent again within this time"""
