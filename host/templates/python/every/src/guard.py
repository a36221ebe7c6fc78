"""What becomes of an exception."""

from collections.abc import Callable
from functools import wraps
from traceback import extract_tb

from componentize_py_types import Err


def told[**P, T](call: Callable[P, T]) -> Callable[P, T]:
    """Answers an exception as `err`, with the line that raised it.

    Without this it would trap, which costs a fresh interpreter; and the traceback, which goes
    to stderr, would be lost where WASI is stubbed away.
    """

    @wraps(call)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except Err:
            raise
        except Exception as error:
            at = extract_tb(error.__traceback__)[-1]
            raise Err(f"{type(error).__name__}: {error} ({at.filename}:{at.lineno})") from error

    return guarded
