"""The few GraphQL calls that REST has no words for: minimize a comment, react to a review, look at the rate limit.

Queries are held strictly against a schema in GitHub's names, so a query that passes here is one for GitHub too.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from gamma_bot.sandbox.call import Access, Anonymous, Answer, ApiError, AppActor, Call, InstallationActor, Route
from gamma_bot.sandbox.ids import iso_time
from gamma_bot.sandbox.model import IssueComment, PullRequest, Reaction, Repository, Review, ReviewComment
from gamma_bot.sandbox.reactions import add_reaction

if TYPE_CHECKING:
    from graphql import GraphQLError, GraphQLResolveInfo, GraphQLSchema

Subject = IssueComment | Review | ReviewComment

# A part of GitHub's schema, under its names.
SCHEMA = """
scalar BigInt
scalar DateTime
scalar URI
interface Node { id: ID! }
interface Minimizable { isMinimized: Boolean! minimizedReason: String viewerCanMinimize: Boolean! }
interface Reactable { id: ID! reactionGroups: [ReactionGroup!] viewerCanReact: Boolean! }
type IssueComment implements Node & Minimizable & Reactable {
  id: ID! fullDatabaseId: BigInt body: String! url: URI!
  isMinimized: Boolean! minimizedReason: String viewerCanMinimize: Boolean! viewerCanReact: Boolean!
  reactionGroups: [ReactionGroup!]
}
type PullRequestReview implements Node & Minimizable & Reactable {
  id: ID! fullDatabaseId: BigInt body: String! url: URI!
  isMinimized: Boolean! minimizedReason: String viewerCanMinimize: Boolean! viewerCanReact: Boolean!
  reactionGroups: [ReactionGroup!]
}
type PullRequestReviewComment implements Node & Minimizable & Reactable {
  id: ID! fullDatabaseId: BigInt body: String! url: URI!
  isMinimized: Boolean! minimizedReason: String viewerCanMinimize: Boolean! viewerCanReact: Boolean!
  reactionGroups: [ReactionGroup!]
}
type ReactionGroup { content: ReactionContent! viewerHasReacted: Boolean! }
type Reaction implements Node { id: ID! databaseId: Int content: ReactionContent! createdAt: DateTime! }
type RateLimit { cost: Int! limit: Int! nodeCount: Int! remaining: Int! resetAt: DateTime! used: Int! }
enum ReportedContentClassifiers { ABUSE DUPLICATE OFF_TOPIC OUTDATED RESOLVED SPAM }
enum ReactionContent { CONFUSED EYES HEART HOORAY LAUGH ROCKET THUMBS_DOWN THUMBS_UP }
input MinimizeCommentInput { classifier: ReportedContentClassifiers! clientMutationId: String subjectId: ID! }
input AddReactionInput { clientMutationId: String content: ReactionContent! subjectId: ID! }
input RemoveReactionInput { clientMutationId: String content: ReactionContent! subjectId: ID! }
type MinimizeCommentPayload { clientMutationId: String minimizedComment: Minimizable }
type AddReactionPayload { clientMutationId: String reaction: Reaction subject: Reactable }
type RemoveReactionPayload { clientMutationId: String reaction: Reaction subject: Reactable }
type Query { node(id: ID!): Node rateLimit(dryRun: Boolean = false): RateLimit }
type Mutation {
  addReaction(input: AddReactionInput!): AddReactionPayload
  minimizeComment(input: MinimizeCommentInput!): MinimizeCommentPayload
  removeReaction(input: RemoveReactionInput!): RemoveReactionPayload
}
"""
_CONTENTS = {
    "THUMBS_UP": "+1", "THUMBS_DOWN": "-1", "LAUGH": "laugh", "HOORAY": "hooray", "CONFUSED": "confused",
    "HEART": "heart", "ROCKET": "rocket", "EYES": "eyes",
}  # fmt: skip


async def answer_query(call: Call) -> Answer:
    """One query or mutation. What is wrong with it is told in the body: the status stays 200."""
    from graphql import graphql_sync

    if isinstance(call.actor, Anonymous | AppActor):
        raise ApiError(401, "This endpoint requires you to be authenticated.")
    body = call.json_object()
    query, variables = body.get("query"), body.get("variables") or {}
    if not isinstance(query, str) or not query.strip():
        raise ApiError(400, "A query attribute must be specified and must be a string.")
    if not isinstance(variables, dict):
        raise ApiError(400, "Variables must be an object.")
    root = {
        "node": _node, "rateLimit": _rate_limit, "minimizeComment": _minimize, "addReaction": _add_reaction,
        "removeReaction": _remove_reaction,
    }  # fmt: skip
    result = graphql_sync(
        _schema(), query, root, call, variable_values=variables, operation_name=body.get("operationName")
    )
    if not result.errors:
        return Answer(200, {"data": result.data})
    errors = [_shown(error) for error in result.errors]
    # A query that does not fit the schema was never run: it has no data, not even null.
    return Answer(200, {"errors": errors} if result.data is None else {"data": result.data, "errors": errors})


class Refusal(Exception):
    """A mutation that GitHub refuses, with the type that it gives such an error."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def _rate_limit(info: GraphQLResolveInfo, **_: Any) -> dict[str, Any]:
    call: Call = info.context
    usage = call.forge.limits.summary(call.actor, "graphql")
    return {**usage, "cost": 1, "nodeCount": 0, "resetAt": iso_time(usage["reset"])}


def _node(info: GraphQLResolveInfo, id: str) -> dict[str, Any]:
    call: Call = info.context
    return _subject_json(call, _find(call, id))


def _minimize(info: GraphQLResolveInfo, input: dict[str, Any]) -> dict[str, Any]:
    call: Call = info.context
    subject = _find(call, input["subjectId"])
    _require_write(call, subject, "MinimizeComment", reacts=False)
    subject.minimized_reason = input["classifier"].lower().replace("_", "-")
    call.forge.state.changed()
    return {"clientMutationId": input.get("clientMutationId"), "minimizedComment": _subject_json(call, subject)}


def _add_reaction(info: GraphQLResolveInfo, input: dict[str, Any]) -> dict[str, Any]:
    call: Call = info.context
    subject = _find(call, input["subjectId"])
    _require_write(call, subject, "AddReaction", reacts=True)
    reaction, _ = add_reaction(call.forge, subject, call.account, _CONTENTS[input["content"]])
    return _reaction_payload(call, subject, reaction, input)


def _remove_reaction(info: GraphQLResolveInfo, input: dict[str, Any]) -> dict[str, Any]:
    call: Call = info.context
    subject, content = _find(call, input["subjectId"]), _CONTENTS[input["content"]]
    _require_write(call, subject, "RemoveReaction", reacts=True)
    own = (one for one in subject.reactions if one.user is call.account and one.content == content)
    reaction = next(own, None)
    if reaction is None:
        raise Refusal("UNPROCESSABLE", "Reaction does not exist")
    subject.reactions.remove(reaction)
    call.forge.state.changed()
    return _reaction_payload(call, subject, reaction, input)


def _reaction_payload(call: Call, subject: Subject, reaction: Reaction, given: dict[str, Any]) -> dict[str, Any]:
    shown = {
        "id": reaction.node_id,
        "databaseId": reaction.id,
        "content": given["content"],
        "createdAt": reaction.created_at,
    }
    return {
        "clientMutationId": given.get("clientMutationId"),
        "reaction": shown,
        "subject": _subject_json(call, subject),
    }


def _find(call: Call, identifier: str) -> Subject:
    """The comment or review with this global id, where the actor sees it."""
    for repository in call.forge.state.repositories.values():
        if _sees(call, repository):
            for subject in _subjects(repository):
                if subject.node_id == identifier:
                    return subject
    raise Refusal("NOT_FOUND", f"Could not resolve to a node with the global id of '{identifier}'")


def _subjects(repository: Repository) -> Iterator[Subject]:
    yield from repository.comments.values()
    yield from repository.reviews.values()
    yield from repository.review_comments.values()


def _sees(call: Call, repository: Repository) -> bool:
    if isinstance(call.actor, InstallationActor):
        return call.actor.reaches(repository)
    return repository.role_of(call.account.login) is not None


def _require_write(call: Call, subject: Subject, mutation: str, *, reacts: bool) -> None:
    """The same permissions as in REST: a reaction to a comment of the conversation needs the one for issues."""
    if isinstance(call.actor, InstallationActor):
        needs = ["pull_requests:write"]
        if isinstance(subject, IssueComment):
            on_pull = isinstance(subject.issue, PullRequest) and not reacts
            needs = ["issues:write", *(needs if on_pull else [])]
        if not any(map(call.actor.holds, needs)):
            raise Refusal("FORBIDDEN", "Resource not accessible by integration")
    elif not reacts and not _repository(subject).may(call.account.login, "write"):
        message = f"{call.account.login} does not have the correct permissions to execute `{mutation}`"
        raise Refusal("FORBIDDEN", message)


def _repository(subject: Subject) -> Repository:
    return subject.issue.repository if isinstance(subject, IssueComment) else subject.pull.repository


def _subject_json(call: Call, subject: Subject) -> dict[str, Any]:
    urls = call.forge.urls
    match subject:
        case IssueComment():
            name, page = "IssueComment", f"{urls.issue_page(subject.issue)}#issuecomment-{subject.id}"
        case Review():
            name, page = "PullRequestReview", f"{urls.issue_page(subject.pull)}#pullrequestreview-{subject.id}"
        case ReviewComment():
            name, page = "PullRequestReviewComment", f"{urls.issue_page(subject.pull)}#discussion_r{subject.id}"
    return {
        "__typename": name,
        "id": subject.node_id,
        "fullDatabaseId": str(subject.id),
        "body": subject.body,
        "url": page,
        "isMinimized": subject.minimized_reason is not None,
        "minimizedReason": subject.minimized_reason,
        "viewerCanMinimize": True,
        "viewerCanReact": True,
        "reactionGroups": _reaction_groups(call, subject),
    }


def _reaction_groups(call: Call, subject: Subject) -> list[dict[str, Any]]:
    """One group for every reaction that there is, given or not, as GitHub answers them."""
    own = {reaction.content for reaction in subject.reactions if reaction.user is call.account}
    return [{"content": name, "viewerHasReacted": content in own} for name, content in _CONTENTS.items()]


def _shown(error: GraphQLError) -> dict[str, Any]:
    shown: dict[str, Any] = dict(error.formatted)
    if isinstance(error.original_error, Refusal):
        return {"type": error.original_error.kind, **shown}
    if error.original_error is not None:
        raise error.original_error
    return shown


@cache
def _schema() -> GraphQLSchema:
    from graphql import build_schema

    return build_schema(SCHEMA)


ROUTE = Route("POST", "/graphql", answer_query, Access.ANYONE, resource="graphql")
