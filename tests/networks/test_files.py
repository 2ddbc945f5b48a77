"""Networks from files: what is written comes back, and mistakes are located."""

import numpy as np
import pytest

from lpm.errors import InputError
from lpm.networks import edges_from_file, erdos_renyi, groups_from_file


def written(tmp_path, text, name="network.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def pairs(edges, ids):
    return {frozenset((ids[s].item(), ids[t].item())) for s, t in zip(edges.source, edges.target, strict=True)}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("named", [False, True])
def test_edges_come_back_as_written(tmp_path, kind, named):
    pandas = pytest.importorskip("pandas")
    edges = erdos_renyi(200, 5, seed=1)
    stable = np.array([f"a{3 * i}" for i in range(200)]) if named else 3 * np.arange(200)
    table = pandas.DataFrame({"note": 1.5, "target": stable[edges.target], "source": stable[edges.source]})
    path = tmp_path / f"edges.{kind}"
    table.to_csv(path, index=False) if kind == "csv" else table.to_parquet(path)
    read, ids = edges_from_file(path)
    assert pairs(read, ids) == pairs(edges, stable)
    assert list(ids) == sorted({str(i) if named else int(i) for pair in pairs(edges, stable) for i in pair})
    whole = np.random.default_rng(1).permutation(stable)
    read, ids = edges_from_file(path, whole)
    assert ids is whole
    assert read.n_agents == 200
    assert pairs(read, ids) == pairs(edges, stable)


def test_duplicates_are_merged_with_a_note(tmp_path):
    path = written(tmp_path, "source,target\n1,2\n2,1\n1,3\n")
    with pytest.warns(UserWarning, match="1 edges were given more than once"):
        edges, _ = edges_from_file(path)
    assert (len(edges.source), edges.dropped) == (2, 1)


def test_groups_come_back_as_written(tmp_path):
    path = written(tmp_path, "agent,group\n7,NA\n3,east\n9,east\n")
    group, names = groups_from_file(path, np.array([3, 5, 7, 9]))
    np.testing.assert_array_equal(group, [1, -1, 0, 1])
    assert list(names) == ["NA", "east"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "source,target\n1,2\n3,3\n",
            ":3 target: asked for another agent than the source, got 3 twice; delete the row",
        ),
        ("source,target\n1,2\n\n3,3\n", ":4 target:"),
        ("source,target\n1,-2\n", ":2 target: asked for a number not below 0, got -2; number from 0, or use names"),
        ("source,target\n1,2\n,4\n", ":3 source: asked for an id, got nothing; write one or delete the row"),
        ("source,target\n1,NaN\n", ":2 target: asked for an id, got nothing"),
        ("source,target\na,b\nb,\n", ":3 target: asked for an id, got nothing"),
        (
            "source,target\n1,2.5\n",
            ":2 target: asked for whole numbers or text, got double; write ids without decimals",
        ),
        ("source,target\n1,2\n3,4,5\n6\n", ":3: asked for 2 cells as in the header, got 3; complete the row"),
        ("source,target\n1,2\n\n3,4,5\n6\n", ":5: asked for 2 cells as in the header, got 1"),
        ("source;target\n1;2\n", ":1: asked for one column named 'source', got source;target; rename"),
        ("source,source,target\n1,2,3\n", ":1: asked for one column named 'source'"),
        ("", "asked for comma-separated text with a header, got: Empty CSV file"),
        (b"source,target\n\xff\xfe,2\n", ":2 source: asked for whole numbers or text, got binary"),
    ],
)
def test_mistakes_in_edges_are_located(tmp_path, text, said):
    path = written(tmp_path, text)
    with pytest.raises(InputError) as error:
        edges_from_file(path)
    assert f"{path}{said}" in str(error.value) or (said in str(error.value) and not said.startswith(":"))


def test_mistakes_are_located_in_parquet(tmp_path):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "edges.parquet"
    pandas.DataFrame({"source": [1.0, np.nan], "target": [2, -3]}).to_parquet(path)
    with pytest.raises(InputError) as error:
        edges_from_file(path)
    assert [line.split(": ")[0] for line in str(error.value).splitlines()] == [f"{path}:2 source", f"{path}:2 target"]
    with pytest.raises(InputError, match="asked for a parquet file"):
        edges_from_file(written(tmp_path, "source,target\n1,2\n", "false.parquet"))


def test_at_most_twenty_mistakes_are_told(tmp_path):
    path = written(tmp_path, "source,target\n" + "1,1\n" * 50)
    with pytest.raises(InputError) as error:
        edges_from_file(path)
    assert len(error.value.problems) == 20


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("agent,group\n0,a\n1,b\n0,c\n", ":4 agent: asked for one group for each agent, got another for 0"),
        ("agent,group\n0,a\n8,b\n", ":3 agent: asked for an agent in ids, got 8; add it to ids or delete the row"),
        ("agent,school\n0,a\n", ":1: asked for one column named 'group', got agent, school"),
        ("agent,group\nada,a\n", ": asked for ids of int64, as those of the agents, got text"),
    ],
)
def test_mistakes_in_groups_are_located(tmp_path, text, said):
    path = written(tmp_path, text)
    with pytest.raises(InputError) as error:
        groups_from_file(path, np.arange(3))
    assert f"{path}{said}" in str(error.value)


def test_missing_files_and_doubled_ids_are_refused(tmp_path):
    with pytest.raises(InputError, match="asked for a file, found none"):
        edges_from_file(tmp_path / "none.csv")
    path = written(tmp_path, "source,target\n1,2\n")
    with pytest.raises(InputError, match="got 2 twice"):
        edges_from_file(path, np.array([1, 2, 2]))
