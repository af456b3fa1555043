"""``specimg user``, ``project`` and ``token``: who may do what, set by the operator of the data folder."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from specimg.access import Role
from specimg.errors import InvalidInput

users = typer.Typer(help="Accounts and their roles.", no_args_is_help=True)
projects = typer.Typer(help="Projects.", no_args_is_help=True)
tokens = typer.Typer(help="API tokens for scripts.", no_args_is_help=True)


@users.command("add")
def add_user(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Account name: lower case, for one person only.")],
    project: Annotated[str | None, typer.Option(help="Project to give a role in.")] = None,
    role: Annotated[Role, typer.Option(help="What the account may do there.")] = Role.ANNOTATOR,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input instead of asking.")
    ] = False,
) -> None:
    """Make an account. There are no default passwords: it asks for one of 12 characters or more."""
    from specimg.cli.commands import opened, out
    from specimg.workflow import accounts

    with opened(context) as desk:
        # Before the password is asked for: a wrong project name should not cost one.
        project_id = accounts.find_project(desk, project) if project is not None else None
        if password_stdin:
            password = sys.stdin.readline().rstrip("\n")
        else:
            password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        account_id = accounts.add_account(desk, accounts.operator(desk), name, password)
        if project_id is not None:
            accounts.set_role(desk, accounts.operator(desk), project_id, account_id, role)
    out.print(f"made account {name}" + (f", {role} in {project}" if project is not None else ""), markup=False)


@users.command("role")
def set_role(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Account name.")],
    project: Annotated[str, typer.Option(help="Project.")],
    role: Annotated[str, typer.Option(help="viewer, annotator, reviewer, admin, or none to take it away.")],
) -> None:
    """Change what an account may do in a project. Holds within seconds, also for who is logged in."""
    from specimg.cli.commands import opened, out
    from specimg.workflow import accounts

    if role != "none" and role not in list(Role):
        raise InvalidInput(f"a role is none, {', '.join(Role)}", field="role")
    with opened(context) as desk:
        project_id, account_id = accounts.find_project(desk, project), accounts.find_account(desk, name)
        new = None if role == "none" else Role(role)
        accounts.set_role(desk, accounts.operator(desk), project_id, account_id, new)
    out.print(f"{name}: {role} in {project}", markup=False)


@projects.command("add")
def add_project(context: typer.Context, name: Annotated[str, typer.Argument(help="Its name.")]) -> None:
    """Make a project."""
    from specimg.cli.commands import opened, out
    from specimg.workflow import accounts

    with opened(context) as desk:
        project_id = accounts.create_project(desk, accounts.operator(desk), name)
    out.print(f"{project_id}  {name}", markup=False)


@tokens.command("add")
def add_token(
    context: typer.Context,
    user: Annotated[str, typer.Argument(help="Account that the token acts for.")],
    name: Annotated[str, typer.Option(help="What it is for.")] = "command line",
    days: Annotated[int, typer.Option(min=1, max=366, help="How long it is valid.")] = 90,
) -> None:
    """Make an API token and show it, this once. Send it as 'Authorization: Bearer TOKEN'."""
    from specimg.cli.commands import opened, out
    from specimg.workflow import accounts

    with opened(context) as desk:
        account_id = accounts.find_account(desk, user)
        token, secret = accounts.create_token_for(desk, accounts.operator(desk), account_id, name, days)
    out.print(f"{secret}\n(id {token.id}, valid until {token.expires_at})", markup=False)


@tokens.command("revoke")
def revoke_token(context: typer.Context, token_id: Annotated[str, typer.Argument(help="Its id.")]) -> None:
    """End a token now."""
    from specimg.cli.commands import opened, out
    from specimg.workflow import accounts

    with opened(context) as desk:
        accounts.revoke_token(desk, accounts.operator(desk), token_id)
    out.print("revoked", markup=False)
