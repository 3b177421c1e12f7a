"""What is known of the user, as options of the command line."""

from collections.abc import Sequence

import click

from device_runner.bundle import Bundle
from device_runner.user_features import user_rows

USER = click.option(
    "--user",
    multiple=True,
    metavar="NAME=VALUE",
    help="What is known of the user, for a model with user features (inspect lists them); may be repeated.",
)


def named_values(options: Sequence[str], option_name: str) -> dict[str, str]:
    """Options NAME=VALUE as names and values.

    Args:
        option_name: the name of the option, for messages.
    """
    known = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals:
            raise click.BadParameter(f"{option!r} is not NAME=VALUE", param_hint=option_name)
        known[name] = value
    return known


def known_of_user(options: Sequence[str], bundle: Bundle) -> dict[str, str]:
    """The options ``--user`` as names and values; a value that the model does not know gets a warning."""
    known = named_values(options, "--user")
    try:
        user_rows(bundle.user_features, known)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--user") from None
    for feature in bundle.user_features:
        if feature.name in known and feature.row_of(known[feature.name]) is None:
            shown = f"{feature.name}={known[feature.name]}"
            click.echo(f"{shown} is not known to the model and was skipped; it knows {feature.describe()}.", err=True)
    return known
