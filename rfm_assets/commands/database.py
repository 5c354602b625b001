"""`rfm db`: the tables of a Postgres schema, made and upgraded by whoever owns it.

Publishing does the same by itself where its user may; here it is for owners who do not let it.
"""

from typing import Annotated

import typer

app = typer.Typer(help="Postgres schemas that tables are published to.", no_args_is_help=True)


@app.callback()
def db() -> None:
    """Postgres schemas that tables are published to."""


@app.command()
def upgrade(
    url_env: Annotated[str, typer.Option(help="Environment variable with the database's URL.")],
    schema: Annotated[str, typer.Option(help="Schema of the tables.")] = "rfm",
) -> None:
    """Make the tables, or bring them to this release's revision."""
    from rfm_assets.database_url import Server
    from rfm_assets.postgres.connection import Target
    from rfm_assets.postgres.migrating import upgrade

    target = Target(Server.named(url_env), schema)
    with target.connect() as connection:
        before, after = upgrade(target, connection)
    done = "had it already" if before == after else f"was {before or 'not there'}"
    typer.echo(f"{target.place}, schema {schema}: revision {after}, {done}")
