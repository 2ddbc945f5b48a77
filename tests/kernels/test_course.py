"""The course of a disease against a loop over agents with the same words."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lpm.kernels.course import Course, Stage, entered, leave_probabilities, progress
from lpm.kernels.stages import Stages

COURSE = Course(
    (
        Stage("susceptible"),
        Stage("exposed", 2, ("infectious",)),
        Stage("infectious", 3, ("hospital", "recovered")),
        Stage("hospital", 1, ("dead", "recovered")),
        Stage("recovered"),
        Stage("dead"),
    )
)
ONE_STEP = Course(
    (Stage("waiting"), Stage("a", 1, ("b",)), Stage("b", 2, ("c",)), Stage("c", 1, ("end",)), Stage("end"))
)
advance = jax.jit(progress, static_argnames="course")
each_size = pytest.mark.parametrize("n", [1, 31, 33, 1000])


def some_agents(n, course=COURSE):
    rng = np.random.default_rng(n)
    value = rng.integers(0, course.size, n).astype(np.uint8)
    return value, rng.integers(0, 2**32, (2, n), dtype=np.uint32), rng.integers(0, 3, n).astype(np.uint8)


def progress_one_by_one(value, words, leave, fork, course, band):
    """Each agent alone: find its stage, draw whether it leaves the phase, then where it goes."""
    stage_of = [stage for stage in course.stages for _ in range(max(1, stage.phases))]
    first = {stage.name: stage_of.index(stage) for stage in course.stages}
    after = []
    for v, w0, w1, b in zip(value.tolist(), *words.tolist(), band.tolist(), strict=True):
        stage = stage_of[v]
        if stage.phases and w0 // 2 < int(float(leave[course.passing.index(stage)]) * 2**31):
            if v < first[stage.name] + stage.phases - 1:
                v += 1
            elif len(stage.leads_to) == 1:
                v = first[stage.leads_to[0]]
            else:
                takes_first = w1 // 2 < int(float(fork[course.forks.index(stage), b]) * 2**31)
                v = first[stage.leads_to[0 if takes_first else 1]]
        after.append(v)
    return after


LEAVE = np.array([0.4, 0.7, 0.25], np.float32)
FORK = np.array([[0.1, 0.5, 1], [0, 0.3, 0.9]], np.float32)


@each_size
def test_progress_meets_a_loop_over_agents(n):
    value, words, band = some_agents(n)
    for leave in (LEAVE, np.zeros(3, np.float32), np.ones(3, np.float32)):
        after = advance(Stages(value, COURSE.size), tuple(words), leave, FORK, COURSE, band)
        assert after.value.dtype == jnp.uint8
        np.testing.assert_array_equal(after.value, progress_one_by_one(value, words, leave, FORK, COURSE, band))


def test_without_bands_everybody_takes_the_one_column():
    value, words, _ = some_agents(1000)
    after = advance(Stages(value, COURSE.size), tuple(words), LEAVE, FORK[:, 1:2], COURSE)
    expected = progress_one_by_one(value, words, LEAVE, FORK[:, 1:2], COURSE, np.zeros(1000, int))
    np.testing.assert_array_equal(after.value, expected)


def test_progress_is_the_same_for_a_batch():
    value, words, band = (np.stack(each) for each in zip(*(some_agents(33) for _ in range(3)), strict=True))
    words ^= np.arange(3, dtype=np.uint32)[:, None, None] << 29
    leave = np.stack([LEAVE, LEAVE[::-1], LEAVE / 2])

    def one(value, words, leave, band):
        return progress(Stages(value, COURSE.size), (words[0], words[1]), leave, FORK, COURSE, band).value

    together = jax.jit(jax.vmap(one))(value, words, leave, band)
    for k in range(3):
        np.testing.assert_array_equal(
            together[k], progress_one_by_one(value[k], words[k], leave[k], FORK, COURSE, band[k])
        )


def test_a_fork_of_probability_one_or_zero_has_one_way():
    value = np.full(1000, COURSE.last("infectious"), np.uint8)
    _, words, band = some_agents(1000)
    leave, fork = np.ones(3, np.float32), np.array([[0, 1, 0.5], [0, 0, 0]], np.float32)
    after = np.asarray(advance(Stages(value, COURSE.size), tuple(words), leave, fork, COURSE, band).value)
    hospital, recovered = COURSE.first("hospital"), COURSE.first("recovered")
    assert np.all(after[band == 0] == recovered)
    assert np.all(after[band == 1] == hospital)
    assert set(after[band == 2]) == {hospital, recovered}


def test_final_stages_and_the_waiting_are_never_left():
    value, _, band = some_agents(1000)
    lowest = (np.zeros(1000, np.uint32),) * 2  # words at which every possible event happens
    after = np.asarray(advance(Stages(value, COURSE.size), lowest, np.ones(3, np.float32), FORK, COURSE, band).value)
    stays = np.isin(value, COURSE.kinds("susceptible", "recovered", "dead"))
    np.testing.assert_array_equal(after == value, stays)


def test_one_step_phases_pass_one_a_day():
    value, words, _ = some_agents(33, ONE_STEP)
    leave = leave_probabilities(ONE_STEP, {"a": jnp.float32(1), "b": jnp.float32(2), "c": jnp.float32(1)})
    np.testing.assert_array_equal(leave, [1, 1, 1])
    stages = Stages(value, ONE_STEP.size)
    for day in range(1, 7):
        stages = advance(stages, tuple(words), leave, None, ONE_STEP)
        expected = np.where(value == 0, 0, np.minimum(value.astype(int) + day, ONE_STEP.size - 1))
        np.testing.assert_array_equal(stages.value, expected)


def test_phases_are_left_at_their_number_over_the_mean():
    mean = {"exposed": jnp.float32(5), "infectious": jnp.float32(12), "hospital": jnp.float32(0.5)}
    leave = leave_probabilities(COURSE, mean)
    assert leave.dtype == jnp.float32
    np.testing.assert_allclose(leave, [2 / 5, 3 / 12, 1], rtol=1e-7)


def test_who_entered_a_stage_was_not_in_it_before():
    before, _, _ = some_agents(1000)
    after = np.random.default_rng(3).integers(0, COURSE.size, 1000).astype(np.uint8)
    for stage in COURSE.stages:
        found = entered(Stages(before, COURSE.size), Stages(after, COURSE.size), COURSE, stage.name).value
        kinds = COURSE.kinds(stage.name)
        assert found.dtype == jnp.uint8
        np.testing.assert_array_equal(found, np.isin(after, kinds) & ~np.isin(before, kinds))


def test_phases_are_numbered_along_the_course():
    names = [stage.name for stage in COURSE.stages]
    assert COURSE.kinds(*names) == tuple(range(COURSE.size)) == tuple(range(9))
    for stage in COURSE.stages:
        kinds = COURSE.kinds(stage.name)
        assert len(kinds) == max(1, stage.phases)
        assert (COURSE.first(stage.name), COURSE.last(stage.name)) == (kinds[0], kinds[-1])
    assert [stage.name for stage in COURSE.passing] == ["exposed", "infectious", "hospital"]
    assert [stage.name for stage in COURSE.forks] == ["infectious", "hospital"]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ((Stage("a", 1, ("nowhere",)), Stage("b")), "nowhere"),
        ((Stage("a", 2), Stage("b")), "got .* with 2 phases"),
        ((Stage("a", 0, ("b",)), Stage("b")), "got .* with 0 phases"),
        ((Stage("a", 1, ("b", "c", "d")), Stage("b"), Stage("c"), Stage("d")), "one or two following"),
        ((Stage("a"), Stage("a")), "different names"),
        ((Stage("a", 255, ("b",)), Stage("b")), "at most 255 phases"),
    ],
)
def test_a_course_that_leads_nowhere_is_refused(stages, message):
    with pytest.raises(ValueError, match=message):
        Course(stages)
