"""What ``/metrics`` tells of GitHub: calls, what is left of their limits, and how long writes wait."""

from __future__ import annotations

from collections import Counter

from gamma_bot.github.gateway import GitHubApp
from gamma_bot.github.pacer import Urgency
from gamma_bot.metrics import Labels, Metric, by, only


def metrics_of(app: GitHubApp) -> list[Metric]:
    """Everything about GitHub, now."""
    remaining: dict[Labels, float] = {}
    paused: dict[Labels, float] = {}
    waited = dict.fromkeys(Urgency, 0.0)
    served: Counter[Urgency] = Counter()
    waiting = 0
    for installation in app.installations:
        number = ("installation", str(installation.installation_id))
        for resource, window in installation.limits.windows.items():
            remaining[(number, ("resource", resource))] = float(window.remaining)
        paused[(number,)] = round(installation.limits.paused_seconds, 3)
        for urgency, seconds in installation.pacer.waited_seconds.items():
            waited[urgency] += seconds
        served.update(installation.pacer.served)
        waiting += installation.pacer.waiting
    return [
        *app.calls.metrics(),
        Metric(
            "gamma_github_rate_limit_remaining",
            "gauge",
            "Calls left in this hour, as GitHub said last.",
            remaining,
        ),
        Metric("gamma_github_paused_seconds", "gauge", "Seconds for which GitHub asked not to be called.", paused),
        Metric("gamma_github_writes_waiting", "gauge", "Writes that wait for their turn.", only(waiting)),
        Metric(
            "gamma_github_writes_total",
            "counter",
            "Writes whose turn came, by urgency.",
            by("urgency", {urgency.name.lower(): served[urgency] for urgency in Urgency}),
        ),
        Metric(
            "gamma_github_write_wait_seconds_total",
            "counter",
            "Seconds that those writes waited for their turn.",
            by("urgency", {urgency.name.lower(): round(waited[urgency], 3) for urgency in Urgency}),
        ),
    ]
