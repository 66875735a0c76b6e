"""Where alerts go: a webhook, Slack, e-mail. What cannot be sent is tried a few times and then said in the log."""

import asyncio
import logging
import smtplib
import ssl
from collections.abc import Awaitable, Callable, Sequence
from email.message import EmailMessage

import httpx
import msgspec

from wayport.config.observing import AlertSettings, AlertTarget, SmtpSettings
from wayport.core.clock import Clock
from wayport.core.secret import Secret
from wayport.observe.alerts import Alert
from wayport.observe.callbacks import http as outgoing
from wayport.observe.callbacks.base import Refused, Undelivered
from wayport.observe.callbacks.webhook import signed

log = logging.getLogger("wayport.alerts")

_WAITS_S = (1.0, 5.0, 30.0)
_SMTP_TIMEOUT_S = 20.0


class Notifier:
    def __init__(
        self,
        settings: AlertSettings,
        *,
        variable: Callable[[str], str],
        clock: Clock,
        http: httpx.AsyncClient | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._targets = [_filled(target, variable) for target in settings.targets]
        self._smtp = settings.smtp if settings.smtp.host else smtp_from(variable)
        self._clock = clock
        self._sleep = sleep
        self._http = http or outgoing.client()
        self.sent = 0
        self.failed = 0

    async def send(self, alert: Alert) -> None:
        """To every target; never raises."""
        await asyncio.gather(*(self._send(target, alert) for target in self._targets))

    async def close(self) -> None:
        await self._http.aclose()

    async def _send(self, target: AlertTarget, alert: Alert) -> None:
        error = ""
        for wait_s in (0.0, *_WAITS_S):
            await self._sleep(wait_s)
            try:
                await self._once(target, alert)
            except Refused as refused:
                error = str(refused)
                break
            except (Undelivered, OSError, smtplib.SMTPException, ValueError) as failed:
                error = str(failed)
            else:
                self.sent += 1
                return
        self.failed += 1
        log.error(
            "an alert could not be sent", extra={"target": target.kind, "alert": alert.kind, "error": error[:300]}
        )

    async def _once(self, target: AlertTarget, alert: Alert) -> None:
        match target.kind:
            case "slack":
                body = msgspec.json.encode({"text": f"*Wayport: {alert.kind}* ({alert.subject})\n{alert.message}"})
                await self._post(target, body)
            case "webhook":
                await self._post(target, msgspec.json.encode({"event": alert.kind, **msgspec.to_builtins(alert)}))
            case "email":
                await asyncio.to_thread(send_mail, self._smtp, target.to, alert)

    async def _post(self, target: AlertTarget, body: bytes) -> None:
        headers = {"content-type": "application/json"}
        if target.secret:
            headers |= signed(target.secret, str(int(self._clock.now_s())), body)
        await outgoing.post(self._http, target.url.reveal(), body, headers=headers)


def send_mail(smtp: SmtpSettings, to: Sequence[str], alert: Alert) -> None:
    """Blocks. Raises `ValueError`, `OSError`, `SMTPException`."""
    if not smtp.host or not to:
        raise ValueError("there is no mail server (SMTP_HOST) or nobody to write to")
    mail = EmailMessage()
    mail["Subject"] = f"Wayport: {alert.kind} ({alert.subject})".replace("\n", " ")
    mail["From"] = smtp.sender or smtp.user or "wayport@localhost"
    mail["To"] = ", ".join(to)
    details = "\n".join(f"{name}: {value}" for name, value in alert.details.items())
    mail.set_content(f"{alert.message}\n\n{details}\n")
    with smtplib.SMTP(smtp.host, smtp.port, timeout=_SMTP_TIMEOUT_S) as server:
        if smtp.tls:
            server.starttls(context=ssl.create_default_context())
        if smtp.user:
            server.login(smtp.user, smtp.password.reveal())
        server.send_message(mail)


def smtp_from(variable: Callable[[str], str]) -> SmtpSettings:
    """The mail server that the environment names, as LiteLLM's variables do."""
    port = variable("SMTP_PORT")
    return SmtpSettings(
        host=variable("SMTP_HOST"),
        port=int(port) if port.isdigit() else 587,
        user=variable("SMTP_USERNAME"),
        password=Secret(variable("SMTP_PASSWORD")),
        sender=variable("SMTP_SENDER_EMAIL"),
        tls=variable("SMTP_TLS").lower() not in ("false", "0"),
    )


def _filled(target: AlertTarget, variable: Callable[[str], str]) -> AlertTarget:
    """A target without an address of its own has that of the environment."""
    changed = msgspec.structs.replace
    match target.kind:
        case "slack":
            return target if target.url else changed(target, url=Secret(variable("SLACK_WEBHOOK_URL")))
        case "webhook":
            return target if target.url else changed(target, url=Secret(variable("WEBHOOK_URL")))
        case "email":
            listed = tuple(part.strip() for part in variable("ALERT_EMAILS").split(",") if part.strip())
            return target if target.to else changed(target, to=listed)
