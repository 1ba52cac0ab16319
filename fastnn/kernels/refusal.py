"""Why a formula cannot be compiled, in the words of its own text: class, method, line and reason.

Two sources tell: what stands in the bytecode of the formula and of all that it calls (a name that is not defined, a
property, ``super()``), and Numba's error. Some of what Numba takes is refused as well: an error raised in compiled
text would be printed and passed over, so ``raise`` and ``assert`` promise what they cannot keep.
"""

from __future__ import annotations

import builtins
import dis
import inspect
import linecache
import os
import re
import types as pytypes
from collections.abc import Iterator
from typing import Any, NamedTuple

import numba
import numpy as np


class FormulaError(TypeError):
    """A formula uses something that cannot be compiled; the message says which line and why."""


class Text(NamedTuple):
    """The text of one formula.

    Attributes
    ----------
    function : function
    name : str
        What errors call it: ``Mish.df``.
    cls : type or None
        The class whose methods and numbers its first argument gives; None of a kernel of a stage.
    fields : tuple of str
        The names of those numbers.
    hint : str
        The end of an error: what such a formula may use.
    """

    function: Any
    name: str
    cls: type | None
    fields: tuple[str, ...]
    hint: str

    def error(self, reason: str, code: pytypes.CodeType | None = None, line: int = 0) -> FormulaError:
        """The error that says so of a line of the formula, or of what it calls."""
        own = self.function.__code__
        code, line = (own, own.co_firstlineno) if code is None else (code, line)
        path = os.path.abspath(code.co_filename) if os.path.exists(code.co_filename) else code.co_filename
        quoted = linecache.getline(code.co_filename, line).strip()
        within = "" if code is own else f" (in {code.co_name})"
        shown = f" `{quoted}`" if quoted else ""
        return FormulaError(
            f"{self.name} cannot be compiled: {path}, line {line}{within}:{shown}: {reason}. {self.hint}"
        )


class _Found(NamedTuple):
    """Something in a text: in which code, on which line, what is to be said of it, and how sure it is a fault."""

    code: pytypes.CodeType
    line: int
    reason: str
    sure: int


_REFUSED, _FAILS, _MAY_FAIL = 2, 1, 0  # even where Numba takes it; whatever Numba says of the rest; on a line it names

_NOBODY_HEARS = (
    "a formula cannot raise errors: compiled, it runs where nobody would hear of them; check settings in __init__, "
    "and keep numbers in range with np.where, np.minimum, np.maximum"
)
_NO_ERRORS = "a formula cannot catch errors: no arithmetic raises one here (1 / 0 is inf); use np.where"
_NO_PRINT = "a formula cannot print: compiled, it runs without Python; call the method on an array to see its numbers"
_OPCODES = {
    "RAISE_VARARGS": (_NOBODY_HEARS, _REFUSED),
    "SETUP_FINALLY": (_NO_ERRORS, _REFUSED),
    "PUSH_EXC_INFO": (_NO_ERRORS, _REFUSED),
    "IMPORT_NAME": ("a formula cannot import; write the import at the top of the module", _FAILS),
    "YIELD_VALUE": ("a formula cannot yield; return the number", _REFUSED),
    "BUILD_MAP": ("a formula cannot use a dict; keep its values as numbers of self, or write them out", _MAY_FAIL),
    "BUILD_CONST_KEY_MAP": ("a formula cannot use a dict; keep its values as numbers of self", _MAY_FAIL),
    "BUILD_SET": ("a formula cannot use a set; write comparisons", _MAY_FAIL),
    "BUILD_STRING": ("a formula cannot make strings", _FAILS),
    "FORMAT_VALUE": ("a formula cannot make strings", _FAILS),
    "FORMAT_SIMPLE": ("a formula cannot make strings", _FAILS),
}
_WITH = ("a formula cannot use with: compiled, NumPy's warnings are off as it is", _REFUSED)
_OPCODES.update(dict.fromkeys(("SETUP_WITH", "BEFORE_WITH", "LOAD_SPECIAL"), _WITH))


_BY_MASK = (
    "Numba gives no reason, but cannot set numbers of a column by a mask or by a list of places; write np.where in the "
    "place of such a line"
)


def check_text(text: Text) -> None:
    """Refuse what Numba takes and would not do.

    Raises
    ------
    FormulaError
        If the formula, or what it calls, raises or catches errors, or prints.
    """
    for found in _findings(text):
        if found.sure == _REFUSED:
            raise text.error(found.reason, found.code, found.line)


def check_returns(text: Text) -> None:
    """Refuse a formula, or a function that it calls, that returns None on some way through it: Numba takes it.

    Raises
    ------
    FormulaError
        If it does. A function that returns nothing at all may be called.
    """
    for function in _reached(text):
        nothing, something, before = 0, False, None
        for step, line in _steps(function.__code__):
            if step.opname in ("RETURN_VALUE", "RETURN_CONST"):
                last = step if step.opname == "RETURN_CONST" else before
                if last is not None and last.opname in ("LOAD_CONST", "RETURN_CONST") and last.argval is None:
                    nothing = nothing or line
                else:
                    something = True
            before = step
        if nothing and (something or function is text.function):
            reason = "it returns None on some way through it; expected a return of numbers on every one"
            raise text.error(reason, function.__code__, nothing)


def explained(text: Text, error: Exception, more: str = "") -> FormulaError:
    """Numba's error as one about the user's own text; `more`, which is said after the reason, is what is wrong with it.

    Nothing that stands in the text is then.
    """
    message = _plain(str(error))
    codes = [function.__code__ for function in _reached(text)]
    places = list(_places(message, codes))
    findings = list(_findings(text))
    of_a_number = _no_such_attribute(message)
    for code, line in places:  # the innermost comes first
        if of_a_number:
            return text.error(of_a_number + more, code, line)
        for found in findings:
            if (found.code, found.line) == (code, line) and not more:
                return text.error(found.reason, code, line)
    for found in findings:
        if found.sure and not more:
            return text.error(found.reason, found.code, found.line)
    if not message.strip():
        for function in _reached(text):
            for step, line in _steps(function.__code__):
                if step.opname == "STORE_SUBSCR":
                    return text.error(_BY_MASK + more, function.__code__, line)
    code, line = places[0] if places else (text.function.__code__, text.function.__code__.co_firstlineno)
    return text.error(_reason(text, message, linecache.getline(code.co_filename, line)) + more, code, line)


def attributes_read(cls: type, methods: tuple[str, ...]) -> set[str]:
    """The attributes of self that those of the `methods` that `cls` has read, or what they call."""
    found: set[str] = set()
    for name in methods:
        function = inspect.getattr_static(cls, name, None)
        if not isinstance(function, pytypes.FunctionType):
            continue
        for one in _reached(Text(function, name, cls, (), "")):
            me = _first(cls, one)
            for _, code in _codes(one):
                before: Any = None
                for step, _ in _steps(code):
                    argument = step.argval
                    if step.opname in ("LOAD_ATTR", "LOAD_METHOD") and (me is None or before == me):
                        found.add(argument)
                    before = argument[-1] if isinstance(argument, tuple) and argument else argument
    return found


# --- what stands in a text -----------------------------------------------------------------------


def _reached(text: Text) -> list[pytypes.FunctionType]:
    """The formula and the functions that it calls by name, or as methods of self."""
    reached: list[pytypes.FunctionType] = []
    waiting = [text.function]
    home = (text.function.__module__ or "").partition(".")[0]
    while waiting:
        function = waiting.pop(0)
        if function in reached:
            continue
        reached.append(function)
        names = [one for _, code in _codes(function) for one in code.co_names]
        called: list[Any] = [function.__globals__.get(name) for name in names]
        called += [value for _, value in _cells(function)]
        if text.cls is not None:
            called += [inspect.getattr_static(text.cls, name, None) for name in names]
        for value in called:
            value = getattr(value, "py_func", value)  # decorated with numba.njit already
            if isinstance(value, pytypes.FunctionType) and (value.__module__ or "").partition(".")[0] == home:
                waiting.append(value)
    return reached


def _codes(function: pytypes.FunctionType) -> Iterator[tuple[pytypes.FunctionType, pytypes.CodeType]]:
    """The code of a function, and of the functions and comprehensions written in it."""
    waiting = [function.__code__]
    while waiting:
        code = waiting.pop()
        yield function, code
        waiting += [constant for constant in code.co_consts if isinstance(constant, pytypes.CodeType)]


_EMPTY = object()  # a name that has no value yet


def _cells(function: pytypes.FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        try:
            yield name, cell.cell_contents
        except ValueError:
            yield name, _EMPTY


def _findings(text: Text) -> Iterator[_Found]:
    """What is wrong, or may be, in the order of the text."""
    for function in _reached(text):
        for owner, code in _codes(function):
            yield from _findings_in(text, owner, code)


def _findings_in(text: Text, function: pytypes.FunctionType, code: pytypes.CodeType) -> Iterator[_Found]:
    me = _first(text.cls, function)
    before: Any = ""
    cells = dict(_cells(function))
    value: Any = _EMPTY  # of the name, or of the module's attribute, that was just read
    chain = ""
    steps = list(_steps(code))
    for place, (step, line) in enumerate(steps):
        name, argument = step.opname, step.argval
        if name in _OPCODES:
            shown = line
            if name == "PUSH_EXC_INFO":  # of no line: the next is that of except or finally
                shown = next((later for _, later in steps[place:] if later != line), line)
            yield _Found(code, shown, *_OPCODES[name])
        if name in ("LOAD_GLOBAL", "LOAD_NAME") or (name == "LOAD_DEREF" and argument in cells):
            value = cells.get(argument, _EMPTY) if name == "LOAD_DEREF" else _looked_up(function, argument)
            chain = str(argument)
            yield from (_Found(code, line, *said) for said in _of_value(text, chain, value))
        elif name in ("LOAD_ATTR", "LOAD_METHOD") and isinstance(value, pytypes.ModuleType):
            chain, module = f"{chain}.{argument}", value
            value = getattr(value, argument, _EMPTY)
            yield from (_Found(code, line, *said) for said in _of_attribute(chain, module, argument, value))
        elif name in ("LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR") and me is not None and before == me:
            value = _EMPTY
            yield from (_Found(code, line, *said) for said in _of_self(text, me, argument, name == "STORE_ATTR"))
        elif name not in ("PUSH_NULL", "CACHE"):
            value = _EMPTY
        before = argument[-1] if isinstance(argument, tuple) and argument else argument


def _steps(code: pytypes.CodeType) -> Iterator[tuple[dis.Instruction, int]]:
    """The instructions, each with its line."""
    lines, line = dict(dis.findlinestarts(code)), code.co_firstlineno
    for step in dis.get_instructions(code):
        line = lines.get(step.offset) or line
        yield step, line


def _first(cls: type | None, function: pytypes.FunctionType) -> str | None:
    """What a method calls self; None of a function that is no method of `cls`."""
    own = function.__code__
    return own.co_varnames[0] if cls is not None and own.co_argcount and _is_method(cls, function) else None


def _is_method(cls: type, function: pytypes.FunctionType) -> bool:
    return any(value is function for base in cls.__mro__ for value in vars(base).values())


def _looked_up(function: pytypes.FunctionType, name: str) -> Any:
    return function.__globals__.get(name, getattr(builtins, name, _EMPTY))


def _of_value(text: Text, name: str, value: Any) -> Iterator[tuple[str, int]]:
    """What is to be said of a global or closed-over value."""
    if value is _EMPTY:
        yield f"the name {name} is not defined", _FAILS
    elif value is print:
        yield _NO_PRINT, _REFUSED
    elif value is super:
        yield (
            "a formula cannot call super(); write what it shares with its base as a method of another name, and call "
            "that by self",
            _FAILS,
        )
    elif isinstance(value, (dict, set, list)):
        yield f"{name} is a {type(value).__name__}; a formula reads numbers and NumPy arrays", _FAILS
    elif text.cls is None and isinstance(value, pytypes.FunctionType):
        yield f"{name} is a Python function; write @numba.njit above it, for a kernel calls compiled code", _FAILS
    elif value is not None and not _is_known(value):
        yield f"{name} is {_kind(value)}, which cannot be compiled; {_REMEDY}", _MAY_FAIL


_REMEDY = "write a function of NumPy text in its place (def; it is compiled with the formula), or one with @numba.njit"


def _kind(value: Any) -> str:
    cls = type(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, np.ufunc):
        return "a compiled function of another library (a ufunc)"
    return f"an object of {cls.__module__}.{cls.__qualname__}"


def _is_known(value: Any) -> bool:
    """Whether it is what formulas usually refer to; a fault in its use is for Numba to tell."""
    kinds = (bool, int, float, np.ndarray, np.generic, pytypes.FunctionType, pytypes.ModuleType, tuple)
    return isinstance(value, kinds) or hasattr(value, "py_func") or getattr(builtins, _name_of(value), None) is value


def _name_of(value: Any) -> str:
    name = getattr(value, "__name__", "")
    return name if isinstance(name, str) else ""


def _of_attribute(chain: str, module: Any, name: str, value: Any) -> Iterator[tuple[str, int]]:
    """What is to be said of a module's attribute that a formula reads."""
    root = module.__name__.partition(".")[0]
    if value is _EMPTY:
        yield f"{chain} does not exist: module '{module.__name__}' has no attribute '{name}'", _FAILS
    elif isinstance(value, pytypes.ModuleType) or root in ("math", "cmath", "numba"):
        return
    elif root == "numpy" and callable(value) and not isinstance(value, type):
        yield f"Numba does not know {chain}, or not with such arguments; write it with other functions", _MAY_FAIL
    elif isinstance(value, pytypes.FunctionType) and root != "numpy":
        yield (
            f"{chain} is a Python function read from a module; import it by name (from {module.__name__} import "
            f"{name}), for functions called by name are compiled with the formula",
            _MAY_FAIL,
        )
    elif not _is_known(value):
        yield f"{chain} is {_kind(value)}, which cannot be compiled; {_REMEDY}", _MAY_FAIL


def _of_self(text: Text, me: str, name: str, stored: bool) -> Iterator[tuple[str, int]]:
    """What is to be said of an attribute of self that a formula reads, or sets."""
    if stored:
        yield f"a formula cannot set {me}.{name}: it is a function of its arguments, called for many numbers", _FAILS
        return
    if name in text.fields:
        return
    value = inspect.getattr_static(text.cls, name, _EMPTY)
    numbers = f"numbers of self are {', '.join(text.fields)}" if text.fields else "self has no number"
    if isinstance(value, property):
        yield f"{me}.{name} is a property; keep it as a number set in __init__, or make it a method, {name}()", _FAILS
    elif isinstance(value, (staticmethod, classmethod)):
        yield f"{me}.{name} is a {type(value).__name__}; make it a plain method, def {name}(self, ...)", _FAILS
    elif value is _EMPTY:
        yield (
            f"{me}.{name} is no number set in __init__, and no array of them ({numbers}); a formula sees no strings, "
            "dicts or None",
            _FAILS,
        )
    elif not isinstance(value, pytypes.FunctionType):
        yield f"{me}.{name} belongs to the class; set it as a number of self, in __init__", _FAILS


# --- what Numba says -----------------------------------------------------------------------------

_PLACE = re.compile(r'(?:at (.+?) \((\d+)\))|(?:File "(.+?)", line (\d+))|(?:Raised from (.+?) \((\d+)\))')
_NOISE = ("Failed in nopython", "During:", "File ", "- Resolution failure", "Overload", "There are", "- Of which")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def _plain(message: str) -> str:
    message = _COLOUR.sub("", message)
    return re.sub(r"@\d+\(.*?(True|False), float(32|64)\)", "", message)  # the inner name of a SelfType


def _places(message: str, codes: list[pytypes.CodeType]) -> Iterator[tuple[pytypes.CodeType, int]]:
    """The lines of the formula that Numba names, and the code in which they are."""
    for match in _PLACE.finditer(message):
        path, line = next((a, int(b)) for a, b in zip(match.groups()[::2], match.groups()[1::2]) if a)
        for code in codes:
            lines = [number for *_, number in code.co_lines() if number]
            if os.path.basename(path) == os.path.basename(code.co_filename) and line in lines:
                yield code, line


def _no_such_attribute(message: str) -> str:
    """What is to be said of an attribute that arrays have and a number in a formula has not; "" if it is not that."""
    attribute = re.search(r"Unknown attribute '(\w+)' of type (?:float|int|bool)\w*", message)
    if attribute is None:
        return ""
    mend = "leave it out" if attribute[1] in ("astype", "copy") else f"np.{attribute[1]}(...) may do"
    return f"what is one number here has no .{attribute[1]}; {mend}"


def _reason(text: Text, message: str, source: str) -> str:
    """The one sentence that matters in Numba's message."""
    count = re.search(
        r"(too many positional arguments|missing a required argument: '\w+'|not enough arguments.*)", message
    )
    method, called = "_teach_method" in message, re.search(r"self\.(\w+)\(", source)
    signature = re.search(r"found for signature:\s*>>> (.+)", message)
    if (count is not None and signature is None) or (method and called is not None):
        function = getattr(text.cls, called[1], None) if called is not None else None
        takes = f": {called[1]} takes {inspect.signature(function)}" if called is not None and function else ""
        return f"a function is called with arguments that it does not take{takes}"
    if "setitem(readonly array" in message:
        return "a formula cannot write into an array of self; keep what it computes in variables of its own"
    if signature is not None:
        call = re.sub(r"Literal\[(\w+)\]\((.*?)\)", r"\1 \2", signature[1].strip())
        return f"Numba has no {call}: no such operation on these types"
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    reasons = [line for line in lines if not line.startswith(_NOISE)]
    return (reasons[0] if reasons else "Numba gives no reason").rstrip(".")


# --- what a formula returns ----------------------------------------------------------------------

NUMBER, ARRAY, NUMBERS = "one number", "an array of the shape of its first argument, of real numbers", "numbers alone"


def check_result(text: Text, result: Any, wanted: str) -> None:
    """See that what a formula returns, by Numba's type, is what is wanted of it.

    Raises
    ------
    FormulaError
        If it is not.
    """
    numbers = (numba.types.Integer, numba.types.Float, numba.types.Boolean)
    number = isinstance(result, numbers)
    column = isinstance(result, numba.types.Array) and result.ndim == 2 and isinstance(result.dtype, numbers)
    some = result if isinstance(result, numba.types.BaseTuple) else (result,)
    fits = {NUMBER: number, ARRAY: number or column, NUMBERS: all(isinstance(one, numbers) for one in some)}[wanted]
    if not fits:
        code = text.function.__code__
        returns = {line for step, line in _steps(code) if step.opname.startswith("RETURN_")}
        line = returns.pop() if len(returns) == 1 else code.co_firstlineno
        raise text.error(f"it returns {described(result)}; expected {wanted}", code, line)


def described(result: Any) -> str:
    """What one of Numba's types is, in words."""
    if isinstance(result, numba.types.BaseTuple):
        return f"a tuple of {len(result)}: {', '.join(described(one) for one in result)}"
    if isinstance(result, numba.types.NoneType):
        return "None (is there a return?)"
    if isinstance(result, numba.types.Optional):
        return "a number or None (on some ways through it nothing is returned)"
    if isinstance(result, numba.types.Array):
        return f"an array of {result.ndim} dimension{'s' * (result.ndim != 1)}, of {result.dtype}"
    words = {
        "List": "a list",
        "UnicodeType": "a string",
        "Literal": "a string",
        "Complex": "a complex number",
    }
    for name, words_of in words.items():
        kind = getattr(numba.types, name, None)
        if kind is not None and isinstance(result, kind):
            return words_of
    return f"a {result}"
