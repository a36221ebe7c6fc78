"""Turns exceptions into the `err` of a call."""

from collections.abc import Callable
from functools import wraps

from componentize_py_types import Err

LATE_IMPORT = (
    "import it at the top of a file: a component has only the modules that were imported when it"
    " was built"
)


def as_err[**P, T](call: Callable[P, T]) -> Callable[P, T]:
    """Returns an exception as `err`, with the line that raised it.

    Without this it would trap, which costs a fresh interpreter.
    """

    @wraps(call)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except Err:
            raise
        except Exception as error:
            message = f"{type(error).__name__}: {error} ({origin(error)})"
            if isinstance(error, ModuleNotFoundError):
                message += f"; {LATE_IMPORT}"
            raise Err(message) from error

    return guarded


def origin(error: Exception) -> str:
    """File and line. The module `traceback` needs the source file, which does not exist here."""
    step = error.__traceback__
    while step and step.tb_next:
        step = step.tb_next
    if not step:
        return "?"
    return f"{step.tb_frame.f_code.co_filename.rpartition('/')[2]}:{step.tb_lineno}"
