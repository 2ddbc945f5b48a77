"""Laws of contact matrices."""

import numpy as np
import pytest

from lpm.errors import InputError
from lpm.networks import mixing_matrix, reciprocal, scale_to_mean

MATRIX = np.random.default_rng(1).gamma(1.0, 2.0, (6, 6))
PEOPLE = np.array([100, 250, 80, 400, 30, 7])


def test_contacts_become_mutual_and_none_are_lost():
    mutual = reciprocal(MATRIX, PEOPLE)
    contacts = mutual * PEOPLE[:, None]
    np.testing.assert_allclose(contacts, contacts.T, rtol=1e-13)
    assert contacts.sum() == pytest.approx((MATRIX * PEOPLE[:, None]).sum())
    np.testing.assert_allclose(reciprocal(mutual, PEOPLE), mutual, rtol=1e-13)


def test_scaling_reaches_the_mean_and_keeps_the_pattern():
    scaled = scale_to_mean(MATRIX, PEOPLE, 13.4)
    assert np.average(scaled.sum(1), weights=PEOPLE) == pytest.approx(13.4)
    np.testing.assert_allclose(scaled / MATRIX, (scaled / MATRIX)[0, 0], rtol=1e-13)


def test_a_matrix_comes_back_as_written(tmp_path):
    path = tmp_path / "contacts.csv"
    np.savetxt(path, MATRIX, delimiter=",")
    np.testing.assert_array_equal(mixing_matrix(path), MATRIX)


def test_the_matrix_given_is_not_changed():
    given = np.ones((2, 2))
    mixing_matrix(given)[0, 0] = 9
    assert given[0, 0] == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2\n3,x\n", ":2 column 2: asked for a number, got 'x'"),
        ("1,2\n\n3,-1\n", ": row 2 column 2: asked for a finite number not below 0, got -1.0"),
        ("1,nan\n3,1\n", ": row 1 column 2: asked for a finite number not below 0, got nan"),
        ("1,2\n3\n", ":2: asked for 2 numbers, as many as there are rows, got 1"),
        ("a,b\n1,2\n3,4\n", ":1: asked for 3 numbers, as many as there are rows, got 2"),
        ("", ": asked for a square matrix"),
    ],
)
def test_mistakes_in_files_are_located(tmp_path, text, said):
    path = tmp_path / "contacts.csv"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        mixing_matrix(path)
    assert f"{path}{said}" in str(error.value)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: mixing_matrix(np.ones((2, 3))), "got 2 x 3"),
        (lambda: mixing_matrix([[1, 2], [3]]), "all of one length"),
        (lambda: mixing_matrix(np.array([[1, -2], [3, 4]])), "row 1 column 2: .* got -2.0"),
        (lambda: mixing_matrix("none.csv"), "found none"),
        (lambda: reciprocal(MATRIX, PEOPLE[:5]), "asked for 6 numbers above 0"),
        (lambda: reciprocal(np.ones((2, 2)), np.array([1, 0])), r"got \[1.0, 0.0\]"),
        (lambda: scale_to_mean(MATRIX, PEOPLE, -1), "got -1"),
        (lambda: scale_to_mean(np.zeros((2, 2)), np.array([1, 1]), 3), "got zeros"),
    ],
)
def test_mistakes_are_refused_in_words(call, said):
    with pytest.raises(InputError, match=said):
        call()
