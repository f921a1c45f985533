"""``/gamma help``: what can be typed."""

from __future__ import annotations

from dataclasses import dataclass

from gamma_bot.commands.arguments import text, word
from gamma_bot.commands.context import CommandContext, Reply
from gamma_bot.commands.declaration import Command, Group, command
from gamma_bot.commands.errors import UnknownCommand, explain
from gamma_bot.commands.permissions import needed_role
from gamma_bot.commands.roles import Role
from gamma_bot.reporting.markdown import Markdown, code, prose, table


@dataclass(frozen=True)
class HelpArgs:
    """Which command is asked about; empty for all."""

    name: str = word("COMMAND", "The command to explain.", text(60), "")


@command(
    "help",
    usage="help [COMMAND]",
    summary="List the commands, or explain one.",
    examples=["help", "help train"],
    needs=Role.READ,
    reads=True,
    also=("commands", "usage", "man"),
)
async def help_command(context: CommandContext, args: HelpArgs) -> Reply:
    """Say what can be typed here and who may."""
    name = args.name.removeprefix("/gamma").strip()
    if not name:
        return Reply(_overview(context))
    asked = context.registry.get(name)
    if asked is None:
        return Reply(explain(UnknownCommand(name, context.registry.closest(name))), ok=False)
    return Reply(explained(asked, who(needed_role(asked, context.pull.private, context.overrides))))


def explained(asked: Command, needs: str) -> Markdown:
    """A command with its usage, arguments, examples and the role that it needs."""
    parts = [f"{code(f'/gamma {asked.usage}')}: {prose(asked.summary)}"]
    if asked.details:
        parts.append(prose(asked.details))
    if asked.arguments:
        rows = [[code(each.written), prose(each.about)] for each in asked.arguments]
        parts.append(table(["Argument", "Meaning"], rows))
    examples = ", ".join(code(f"/gamma {example}") for example in asked.examples)
    parts.append(f"{'Example' if len(asked.examples) == 1 else 'Examples'}: {examples}")
    parts.append(f"Role needed: {needs}")
    return Markdown("\n\n".join(parts))


def who(needed: Role) -> str:
    """The role that a command takes, in words."""
    return "none" if needed is Role.NONE else needed.label


def _overview(context: CommandContext) -> Markdown:
    parts = ["Write a command at the start of a line of a comment; a comment may have several."]
    for group in Group:
        rows = [
            [
                code(f"/gamma {each.usage}"),
                prose(each.summary),
                who(needed_role(each, context.pull.private, context.overrides)),
            ]
            for each in context.registry.in_group(group)
        ]
        if rows:
            parts.append(f"**{group.value}**\n\n{table(['Command', 'What it does', 'Role needed'], rows)}")
    parts.append("`/gamma help COMMAND` explains one with its arguments and examples.")
    return Markdown("\n\n".join(parts))
