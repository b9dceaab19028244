import inspect

import pytest

from pakati_core import errors

CHILDREN = [
    *(errors.RegionError, errors.ShapeError, errors.LayoutFileError, errors.CanvasError, errors.ProjectError),
    *(errors.ModelError, errors.JudgeError, errors.RefineError, errors.OutputError, errors.IdentityError),
]


@pytest.mark.parametrize("child", CHILDREN, ids=lambda child: child.__name__)
def test_one_except_clause_catches_every_error(child):
    with pytest.raises(errors.PakatiError, match="what to do"):
        raise child("what was given, what was wanted, what to do")


def test_a_warning_is_not_an_error():
    assert issubclass(errors.PakatiWarning, UserWarning)
    assert not issubclass(errors.PakatiWarning, errors.PakatiError)


def test_the_docstring_draws_every_class():
    names = [name for name, value in vars(errors).items() if inspect.isclass(value)]
    assert len(names) == len(CHILDREN) + 2
    assert all(name in (errors.__doc__ or "") for name in names)
