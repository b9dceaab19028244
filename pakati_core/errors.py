"""What Pakati raises, and the one warning it gives.

    PakatiError
    ├── RegionError      a region that cannot be used; the message names it
    ├── ShapeError       numbers, tensors or pictures that do not fit each other
    ├── LayoutFileError  a region layout that is missing, damaged or from a newer Pakati
    ├── CanvasError      a step that a canvas cannot take, such as undo at the first one
    ├── ProjectError     a project file that is missing, damaged, unsafe or from a newer Pakati
    ├── ModelError       a model folder or weights that are missing or damaged, or cannot do what is asked
    ├── JudgeError       questions, answers or a judge's settings that cannot be used
    ├── RefineError      a refinement that cannot be begun or taken up again
    ├── OutputError      a result that could not be written
    └── IdentityError    faces, references or a character that cannot be used

    PakatiWarning        the work goes on, but probably not as meant

Every message is one sentence: what was given, what was wanted, what to do.
"""

import warnings


class PakatiError(Exception):
    """Anything that Pakati refuses; the text is meant for the person who asked."""


class RegionError(PakatiError):
    """A region that cannot be used."""


class ShapeError(PakatiError):
    """Numbers, tensors or pictures that do not fit each other."""


class LayoutFileError(PakatiError):
    """A region layout that is missing, damaged or from a newer Pakati."""


class CanvasError(PakatiError):
    """A step that a canvas cannot take."""


class ProjectError(PakatiError):
    """A project file that is missing, damaged, unsafe or from a newer Pakati."""


class ModelError(PakatiError):
    """A model folder or weights that are missing or damaged, or cannot do what is asked."""


class JudgeError(PakatiError):
    """Questions, answers or a judge's settings that cannot be used."""


class RefineError(PakatiError):
    """A refinement that cannot be begun or taken up again."""


class OutputError(PakatiError):
    """A result that could not be written."""


class IdentityError(PakatiError):
    """Faces, references or a character that cannot be used."""


class PakatiWarning(UserWarning):
    """The work goes on, but probably not as meant."""


def warn(message: str) -> None:
    """Names the line that called the one that warns."""
    warnings.warn(message, PakatiWarning, stacklevel=3)
