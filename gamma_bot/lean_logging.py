"""structlog without what it loads on the chance that somebody prints tracebacks in colour.

It imports rich where rich happens to be installed: five megabytes that a service has no use for. Whoever needs rich
later, such as the SageMaker SDK, finds it as ever.
"""

from __future__ import annotations

import sys

if "rich" in sys.modules or "structlog" in sys.modules:
    import structlog
else:
    sys.modules["rich"] = None  # type: ignore[assignment]
    import structlog

    del sys.modules["rich"]

__all__ = ["structlog"]
