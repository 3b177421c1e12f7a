"""What both command lines have in common: errors as one line with an exit code, and ``--json``."""

import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from device_runner.errors import EdgeRecError

Function = TypeVar("Function", bound=Callable[..., Any])

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Group(click.Group):
    """A group that turns every ``EdgeRecError`` into one line on stderr and an exit code: the error's ``exit_code``, or
    1.
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EdgeRecError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(getattr(error, "exit_code", 1))
        except BrokenPipeError:  # the reader of the output has ended, as head does: click ends without a word
            raise
        except OSError as error:  # no permission, no space, a file where a folder should be
            click.echo(f"Error: {error.filename or 'file system'}: {error.strerror or error}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(130)


def json_option(function: Function) -> Function:
    """Add ``--json``, passed on as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")(function)


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
    sys.stdout.flush()  # a broken pipe must fail here, not at exit
