"""The tables: what is written here outlives every crash.

One schema for SQLite and Postgres. Times are Unix seconds; documents are JSON text, so that a row reads the same in
both databases.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text, text

metadata = MetaData()

SCHEMA_VERSION = 1

schema_version = Table(
    "gamma_schema",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("created_at", Float, nullable=False),  # since when this store takes deliveries
)

# The inbox: every webhook as it came, before anybody looked at it (I1).
deliveries = Table(
    "gamma_deliveries",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("guid", String(200), nullable=False, unique=True),
    Column("event", String(200), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("received_at", Float, nullable=False),
    Column("state", String(20), nullable=False),  # stored | done | parked
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("due_at", Float, nullable=False, server_default="0"),  # when it is tried again, after a failure
    Column("result", Text, nullable=False, server_default=""),  # what became of it, or the last error
    Column("handled_at", Float),
    Index(
        "gamma_deliveries_waiting",
        "seq",
        sqlite_where=text("state = 'stored'"),
        postgresql_where=text("state = 'stored'"),
    ),
)

# The repositories that Gamma may work for or has worked for, and the way to each of them.
projects = Table(
    "gamma_projects",
    metadata,
    Column("repository_id", BigInteger, primary_key=True, autoincrement=False),
    Column("full_name", String(300), nullable=False),  # changes when it is renamed or transferred
    Column("installation_id", BigInteger, nullable=False),  # changes when the App is installed anew
    Column("state", String(20), nullable=False),  # active | suspended | archived | forgotten
    Column("why", Text, nullable=False, server_default=""),  # why nothing can be done there now
    Column("changed_at", Float, nullable=False),
    Index("gamma_projects_installation", "installation_id"),
)

# One row per job: one push, or one re-run of it.
jobs = Table(
    "gamma_jobs",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("installation_id", BigInteger, nullable=False),
    Column("repository_id", BigInteger, nullable=False),
    Column("repository", String(300), nullable=False),
    Column("branch", String(300), nullable=False),
    Column("head_sha", String(64), nullable=False),
    Column("before_sha", String(64), nullable=False),
    Column("pushed_at", Float, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("state", String(20), nullable=False),
    Column("executor", String(20), nullable=False, server_default="local"),
    Column("timeout_seconds", Float),
    Column("run_id", String(64)),
    Column("experiment_id", String(64)),
    Column("push", Text, nullable=False),  # the intent as it was understood
    Column("plan", Text, nullable=False, server_default="{}"),  # what was decided to run, once it is
    Column("stop", Text, nullable=False, server_default="{}"),  # who asked for its end, and why; recorded first (I7)
    Column("facts", Text, nullable=False),  # what a report may say, as last known
    Column("turn", String(10), nullable=False, server_default=""),  # '' until planned | waiting | granted | taken
    Column("champion", Text, nullable=False, server_default="{}"),  # who promoted it, while it is the champion
    Column("notice", Text, nullable=False, server_default=""),  # why the last button that was pressed did nothing
    Index("gamma_jobs_branch", "repository_id", "branch", "pushed_at"),
    Index(
        "gamma_jobs_champion",
        "repository_id",
        sqlite_where=text("champion <> '{}'"),
        postgresql_where=text("champion <> '{}'"),
    ),
    Index(
        "gamma_jobs_in_line",
        "turn",
        sqlite_where=text("turn IN ('waiting', 'granted')"),
        postgresql_where=text("turn IN ('waiting', 'granted')"),
    ),
    Index("gamma_jobs_state", "state"),
)

# The open pull requests of branches that trained, as last seen.
pulls = Table(
    "gamma_pulls",
    metadata,
    Column("repository_id", BigInteger, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("branch", String(300), nullable=False),
    Column("head_sha", String(64), nullable=False),
    Column("base_branch", String(300), nullable=False),
    Column("open", Integer, nullable=False),
    Column("updated_at", Float, nullable=False),  # GitHub's clock: older news never replaces newer
    Index("gamma_pulls_branch", "repository_id", "branch"),
)

# What GitHub should show (desired) and what it was last seen to show (flushed), per check run and per comment.
surfaces = Table(
    "gamma_surfaces",
    metadata,
    Column("key", String(300), primary_key=True),
    Column("kind", String(20), nullable=False),  # check | comment
    Column("job", String(40), nullable=False),
    Column("repository_id", BigInteger, nullable=False),  # its name and installation are those of the project
    Column("subject", String(300), nullable=False),  # the check run's name, or the pull request's number
    Column("body", Text, nullable=False),  # what to send, as JSON
    Column("desired", Integer, nullable=False),
    Column("as_of", Float, nullable=False),  # the time of the news that ``body`` tells; older news never replaces it
    Column("urgency", Integer, nullable=False),  # what goes first when many wait: the smaller number
    Column("flushed", Integer, nullable=False),
    Column("github_id", BigInteger),
    Column("tried", Integer, nullable=False, server_default="0"),  # version of the newest try, successful or not
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("due_at", Float, nullable=False),
    Column("flushed_at", Float),
    Column("error", Text, nullable=False, server_default=""),
    Index("gamma_surfaces_job", "job"),
    Index(
        "gamma_surfaces_dirty",
        "due_at",
        sqlite_where=text("desired > flushed"),
        postgresql_where=text("desired > flushed"),
    ),
)

# Until when GitHub asked not to be called.
pauses = Table(
    "gamma_pauses",
    metadata,
    Column("installation_id", BigInteger, primary_key=True, autoincrement=False),
    Column("until", Float, nullable=False),
)
