"""What becomes of an exception."""

from collections.abc import Callable
from functools import wraps

from componentize_py_types import Err


def told[**P, T](call: Callable[P, T]) -> Callable[P, T]:
    """Answers an exception as `err`, with the line that raised it.

    Without this it would trap, which costs a fresh interpreter, and the host would not learn
    why: the traceback goes to stderr, which is nowhere when WASI is stubbed away.
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
    """File and line. The module `traceback` would look for the source, and there are no files."""
    step = error.__traceback__
    while step and step.tb_next:
        step = step.tb_next
    if not step:
        return "?"
    return f"{step.tb_frame.f_code.co_filename.rpartition('/')[2]}:{step.tb_lineno}"
