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
    Column("fingerprint", String(64), nullable=False, server_default=""),  # of all that its result depends on
    Column("submitted_at", Float),  # when a trainer was first asked to take it: it may cost something from then on
    Column("launched_at", Float),  # when a trainer took it; from then on the watcher looks after it
    Column("run_id", String(64)),
    Column("experiment_id", String(64)),
    Column("push", Text, nullable=False),  # the intent as it was understood
    Column("plan", Text, nullable=False, server_default="{}"),  # what was decided to run, once it is
    Column("stop", Text, nullable=False, server_default="{}"),  # who asked for its end, and why; recorded first (I7)
    Column("facts", Text, nullable=False),  # what a report may say, as last known
    Column("turn", String(10), nullable=False, server_default=""),  # '' until planned | waiting | granted | taken
    Column("champion", Text, nullable=False, server_default="{}"),  # who promoted it, while it is the champion
    Column("notice", Text, nullable=False, server_default=""),  # why the last button that was pressed did nothing
    Column("estimate_usd", Float),  # the most it may cost: reserved while it is not over; none where nothing is paid
    Column("cost_usd", Float),  # what it has cost, once that is known
    Index("gamma_jobs_fingerprint", "repository_id", "fingerprint"),
    Index("gamma_jobs_branch", "repository_id", "branch", "pushed_at"),
    Index(
        "gamma_jobs_paid",
        "repository_id",
        sqlite_where=text("estimate_usd IS NOT NULL"),
        postgresql_where=text("estimate_usd IS NOT NULL"),
    ),
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
    # All that is read of thousands of jobs again and again is in the index: the rows themselves are 8 kB each.
    Index("gamma_jobs_state", "state", "executor", "launched_at", "id", "attempt"),
    Index(
        "gamma_jobs_stopping",
        "state",
        "id",
        sqlite_where=text("stop <> '{}'"),
        postgresql_where=text("stop <> '{}'"),
    ),
    Index("gamma_jobs_changed", "updated_at"),
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

# The processes that share this database, if it is a Postgres: who may run a part, and whose work others take over.
replicas = Table(
    "gamma_replicas",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("host", String(300), nullable=False),
    Column("data_dir", Text, nullable=False),
    Column("place", String(100), nullable=False),  # the same where they share the data directory and its processes
    Column("embeds", String(40), nullable=False),  # what of it works in the data directory alone
    Column("started_at", Float, nullable=False),
    Column("beat_at", Float, nullable=False),  # by the database's clock, as started_at
    Column("has_left", Integer, nullable=False),
)

# The attempts that GitHub Actions trains: recorded before GitHub is asked for their runs.
actions_runs = Table(
    "gamma_actions_runs",
    metadata,
    Column("attempt", String(60), primary_key=True),  # the run at GitHub has it in its name
    Column("repository_id", BigInteger, nullable=False),
    Column("repository", String(300), nullable=False),
    Column("workflow", String(210), nullable=False),
    Column("ref", String(300), nullable=False),
    Column("inputs", Text, nullable=False),
    Column("timeout_seconds", Float, nullable=False),
    Column("recorded_at", Float, nullable=False),
    Column("tried_at", Float),  # when GitHub was last asked for the run: it may exist from then on
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("run_id", BigInteger),
    Column("url", Text, nullable=False, server_default=""),
    Column("status", String(40), nullable=False, server_default=""),
    Column("hinted", Integer, nullable=False, server_default="0"),  # a webhook told of news
    Column("stop_at", Float),
    Column("cancelled_at", Float),
    Column("outcome", Text, nullable=False, server_default=""),
    Index(
        "gamma_actions_runs_open",
        "attempt",
        sqlite_where=text("outcome = ''"),
        postgresql_where=text("outcome = ''"),
    ),
)

# The tries of the attempts that SageMaker trains: each is recorded before SageMaker is asked for its training job (I3).
launches = Table(
    "gamma_launches",
    metadata,
    Column("attempt", String(60), primary_key=True),
    Column("number", Integer, primary_key=True),  # of the try: a lack of capacity is followed by another one
    Column("job", String(40), nullable=False),
    Column("job_attempt", Integer, nullable=False),
    Column("name", String(63), nullable=False, unique=True),  # the training job's
    Column("state", String(20), nullable=False),  # recorded | creating | created | waiting | waiting_quota | ended
    Column("order", Text, nullable=False),  # what CreateTrainingJob is sent, so that any replica can send it
    Column("instance_type", String(40), nullable=False),
    Column("instance_count", Integer, nullable=False),
    Column("spot", Integer, nullable=False),
    Column("limit_seconds", Float, nullable=False),  # how long it may take by its own limits, waiting included
    Column("recorded_at", Float, nullable=False),
    Column("due_at", Float, nullable=False),  # when to ask for it (again)
    Column("waits_for", Text, nullable=False, server_default=""),
    Column("stop_requested_at", Float),
    Column("status", String(40), nullable=False, server_default=""),  # as last seen, by AWS's clock
    Column("secondary", String(40), nullable=False, server_default=""),
    Column("modified_at", Float, nullable=False, server_default="0"),
    Column("interruptions", Integer, nullable=False, server_default="0"),
    Column("ending", String(20), nullable=False, server_default=""),  # why this try is over
    Column("training_seconds", Float),
    Column("billable_seconds", Float),
    Column("outcome", Text, nullable=False, server_default=""),  # of the attempt; only at its last try
    Index(
        "gamma_launches_open",
        "attempt",
        sqlite_where=text("state <> 'ended'"),
        postgresql_where=text("state <> 'ended'"),
    ),
)

# One row per attempt to call a model: reserved before the call, settled after it.
agent_ledger = Table(
    "gamma_agent_ledger",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("at", Float, nullable=False),
    Column("repository_id", BigInteger, nullable=False),
    Column("job", String(40), nullable=False),
    Column("kind", String(20), nullable=False),  # write_up | ask | chat
    Column("task", String(300), nullable=False),  # the one write-up or answer that it was for
    Column("model", String(100), nullable=False),
    Column("request_id", String(100), nullable=False, server_default=""),
    Column("cache_write_5m", Integer, nullable=False, server_default="0"),
    Column("cache_write_1h", Integer, nullable=False, server_default="0"),
    Column("cache_read", Integer, nullable=False, server_default="0"),
    Column("fresh", Integer, nullable=False, server_default="0"),  # input that the cache had nothing to do with
    Column("output", Integer, nullable=False, server_default="0"),
    Column("thinking", Integer, nullable=False, server_default="0"),  # of the output
    Column("stop_reason", String(60), nullable=False, server_default=""),  # '' until it is over
    Column("usd", Float, nullable=False),  # what is reserved, and then what it came to
    Column("estimated", Integer, nullable=False),  # nobody said how many tokens it was
    Index("gamma_agent_ledger_repository", "repository_id", "at"),
    Index("gamma_agent_ledger_task", "task"),
)

# What was written about a commit: once for each of its jobs, which may have other results, and each prompt and model.
write_ups = Table(
    "gamma_write_ups",
    metadata,
    Column("repository_id", BigInteger, primary_key=True, autoincrement=False),
    Column("sha", String(64), primary_key=True),
    Column("prompt_version", String(40), primary_key=True),
    Column("model", String(100), primary_key=True),  # the one that was asked first
    Column("job", String(40), primary_key=True),
    Column("at", Float, nullable=False),
    Column("rung", String(20), nullable=False),  # of the ladder from the model's own text down to the deterministic one
    Column("headline", Text, nullable=False),
    Column("markdown", Text, nullable=False),  # checked; empty where the deterministic text stays
    Column("footer", Text, nullable=False),
    Column("why", String(20), nullable=False, server_default=""),  # why no model wrote it
    Index("gamma_write_ups_job", "job"),
)

# What a project is told once, as that its budget for models is used up: the comment that tells it goes on doing so.
told = Table(
    "gamma_told",
    metadata,
    Column("repository_id", BigInteger, primary_key=True, autoincrement=False),
    Column("what", String(40), primary_key=True),
    Column("place", String(300), nullable=False),  # the key of a comment
    Column("at", Float, nullable=False),
)

# Questions to the agent and their answers: what is asked twice is answered once, and a thread is its own memory.
asks = Table(
    "gamma_asks",
    metadata,
    Column("request", String(200), primary_key=True),
    Column("repository_id", BigInteger, nullable=False),
    Column("thread", String(100), nullable=False),  # pull:7 | chat:a name
    Column("author", String(200), nullable=False),
    Column("question", Text, nullable=False),
    Column("asked_at", Float, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("tried_at", Float, nullable=False),
    Column("state", String(20), nullable=False),  # open | answered | unanswered
    Column("why_not", String(40), nullable=False, server_default=""),  # why it is unanswered
    Column("answer", Text, nullable=False, server_default=""),  # checked Markdown
    Column("outcome", Text, nullable=False, server_default="{}"),  # what else is told of it
    Index("gamma_asks_thread", "repository_id", "thread", "asked_at"),
    Index("gamma_asks_author", "author", "asked_at"),
)
