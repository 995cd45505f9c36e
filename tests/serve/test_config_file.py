"""`roadshift serve --config FILE`: what the command then gets, and what is refused."""

import pytest

import roadshift
from roadshift import Failure


@pytest.fixture
def told(monkeypatch, tmp_path, capsys):
    """Runs the command with a file of that text: what it would serve with, or what it says."""
    found = {}

    class Server:
        def __init__(self, graphs, bound, limits, *, before, **_):
            found["names"] = [graph.bundle.name for graph in graphs]
            found.update(limits=limits, guard=before.__self__, bound=bound.getsockname())
            raise Failure("enough")

    monkeypatch.setattr("serve.http.server.Server", Server)
    file = tmp_path / "serve.toml"

    def run(text, *more, code=1):
        file.write_text(text)
        with pytest.raises(SystemExit) as end:
            roadshift.main(["serve", "--config", str(file), *map(str, more)])
        said = capsys.readouterr().err
        assert end.value.code == code, said
        # The library breaks its lines within a frame.
        return found if code == 1 else "".join(said.replace("│", "").split())

    run.file = file
    return run


def test_options_by_their_names(told, tiny):
    found = told(
        f'bundles = ["{tiny.folder}"]\nport = 0\nwaiting = 3\nbatch-delay-ms = 2\nmax_batch = 4\n'
        'allow-host = ["a", "b"]\nthreads = 1\n'
    )
    assert found["names"] == ["tiny"]
    limits = found["limits"]
    assert (limits.waiting, limits.batch_delay_ms, limits.max_batch) == (3, 2, 4)
    assert found["guard"].hosts == ("a", "b")


def test_the_command_line_wins(told, tiny, kit, tmp_path):
    other = kit.make_bundle(tmp_path / "other", name="other")
    text = f'bundles = ["{tiny.folder}"]\nport = 0\nwaiting = 3\nconnections = 7\n'
    found = told(text, other.folder, "--waiting", 5)
    assert found["names"] == ["other"]
    assert (found["limits"].waiting, found["limits"].connections) == (5, 7)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 1", 'Unknown option: "[prot]" from FILE'),
        ("[limits]\nwaiting = 1", 'Unknown option: "[limits][waiting]" from FILE'),
        ('port = "eighty"', 'value for [port] from FILE: unable to convert "eighty" into int'),
        ('provider = "gpu"', 'Invalid value "gpu" for [provider] from FILE. Choose from: "cpu"'),
        ("port = 80.5", "FILE: port is 80.5: wanted int"),
        ('port = "80"', "FILE: port is '80': wanted int"),
        ("host = 5", "FILE: host is 5: wanted str"),
        ("grpc-port = 1.5", "FILE: grpc-port is 1.5: wanted int"),
        ("api_key_file = 5", "FILE: api_key_file is 5: wanted pathlib.Path | None"),
        ('allow-host = "a"', "FILE: allow-host is 'a': wanted tuple"),
        ('bundles = "a"', "FILE: bundles is 'a': wanted tuple"),
        ("a ==", "cannot read the options in FILE (TOMLDecodeError: Invalid value (at line 1,"),
    ],
)
def test_what_is_refused_names_the_file_and_the_key(told, text, said):
    wanted = "".join(said.replace("FILE", str(told.file)).split())
    assert wanted in told(text, code=2)


def test_no_such_file(capsys):
    with pytest.raises(SystemExit) as end:
        roadshift.main(["serve", "--config", "no/such.toml"])
    assert end.value.code == 2
    assert "cannot read the options in no/such.toml (No such file" in capsys.readouterr().err
