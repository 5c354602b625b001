"""The `rfm` command, put together. What each command does is in `commands/`.

Heavy imports happen inside the commands, so that `rfm --help` answers at once.
"""

import typer

from rfm_assets.commands import (
    alerts,
    analyze,
    check,
    database,
    demo,
    erase,
    export,
    generate,
    keys,
    movement,
    plan,
    prune,
    report,
    run,
    send,
    serve,
    show,
    versions,
)
from rfm_assets.commands.terminal import err, red
from rfm_assets.errors import RfmError

app = typer.Typer(
    help="Weekly customer segments and campaign lists from transactions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (
    demo.demo,
    analyze.analyze,
    run.run,
    show.show,
    show.explain,
    export.export,
    report.report,
    send.send,
    serve.serve,
    check.check,
    plan.plan,
    movement.movement,
    versions.versions,
    prune.prune,
    erase.erase,
    check.doctor,
):
    app.command()(command)
app.add_typer(alerts.app, name="alerts")
app.add_typer(keys.app, name="keys")
app.add_typer(generate.app, name="generate")
app.add_typer(database.app, name="db")


@app.callback()
def rfm() -> None:
    """Weekly customer segments and campaign lists from transactions."""


def main() -> None:
    """Entry point: a user's mistake ends with its message and exit code 2, not a stack trace."""
    try:
        app()
    except RfmError as error:
        err.print(red(type(error).__name__), str(error))
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
