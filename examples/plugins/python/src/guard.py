"""Turns exceptions into the `err` of a call."""

from collections.abc import Callable
from functools import wraps

from componentize_py_types import Err


def as_err[**P, T](call: Callable[P, T]) -> Callable[P, T]:
    """Returns an exception as `err`, with the line that raised it.

    Without this it would trap, which costs a fresh interpreter, and the host would not learn
    the cause: the traceback goes to stderr, which is discarded when WASI is stubbed.
    """

    @wraps(call)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except Err:
            raise
        except Exception as error:
            raise Err(f"{type(error).__name__}: {error} ({origin(error)})") from error

    return guarded


def origin(error: Exception) -> str:
    """File and line. The module `traceback` needs the source file, which does not exist here."""
    step = error.__traceback__
    while step and step.tb_next:
        step = step.tb_next
    if not step:
        return "?"
    return f"{step.tb_frame.f_code.co_filename.rpartition('/')[2]}:{step.tb_lineno}"
