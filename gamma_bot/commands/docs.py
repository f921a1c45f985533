"""``docs/commands.md``, made from the declarations of the commands: ``python -m gamma_bot.commands.docs``."""

from __future__ import annotations

import sys

from gamma_bot.commands.declaration import Command, Group, Registry
from gamma_bot.commands.help import explained, who
from gamma_bot.commands.parser import MOST_COMMANDS
from gamma_bot.commands.permissions import needed_role
from gamma_bot.commands.registry import build_registry
from gamma_bot.reporting.markdown import code, prose, table

_INTRODUCTION = f"""\
# Commands

Write a command in a comment of a pull request, at the start of a line:

```
/gamma train lr=0.01
```

- A comment may have up to {MOST_COMMANDS} commands, one per line, with any text between them. Only new comments count;
  editing one runs nothing.
- A line in code, a quote, a list, a heading, a link, or inside HTML is no command.
- Blanks separate words. Quotes (`"wider policy"`) and backslashes keep a word together.
- `name=value` sets an option, without blanks around the `=`.
- Gamma answers with 👀 at once, then with 🚀, with 👎 if your role is not enough, or with 😕 and what to type instead.

Commands that only show something may be given by everybody who can see the repository. `gamma.yml` on the default
branch can ask for other roles; commands that train or cost money never take less than triage (`ask` on a private
repository: read), and those that decide never less than write."""


def commands_page(registry: Registry) -> str:
    """The page, with a line end at its end."""
    parts = [_INTRODUCTION]
    for group in Group:
        commands = registry.in_group(group)
        if commands:
            parts += [f"## {group.value}", _overview(commands), *(_section(each) for each in commands)]
    return "\n\n".join(parts) + "\n"


def _overview(commands: list[Command]) -> str:
    rows = [[f"[{code(each.name)}](#{each.name})", prose(each.summary), _needs(each)] for each in commands]
    return table(["Command", "What it does", "Role needed"], rows)


def _section(each: Command) -> str:
    return f"### `{each.name}`\n\n{explained(each, _needs(each))}"


def _needs(each: Command) -> str:
    private, public = (who(needed_role(each, is_private, {})) for is_private in (True, False))
    return private if private == public else f"{private} ({public} on a public repository)"


if __name__ == "__main__":
    sys.stdout.write(commands_page(build_registry()))
