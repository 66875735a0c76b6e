import socket
import stat
from pathlib import Path

import pytest

from wayport.control.sockets import AlreadyRunning, listen, short_name


@pytest.mark.parametrize("depth", [0, 3])
def test_a_socket_is_its_owners_alone_however_long_its_name(tmp_path: Path, depth: int) -> None:
    path = tmp_path.joinpath(*["a-directory-with-quite-a-long-name-indeed"] * depth) / "control.sock"
    listener = listen(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with socket.socket(socket.AF_UNIX) as client, short_name(path) as name:
        client.connect(name)
    listener.close()


def test_a_socket_left_by_a_dead_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    listen(path).close()
    assert path.exists()
    listener = listen(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listener.close()


def test_a_socket_that_somebody_answers_on_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    first = listen(path)
    with pytest.raises(AlreadyRunning):
        listen(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    first.close()


def test_a_directory_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        listen(tmp_path / "file" / "control.sock")
