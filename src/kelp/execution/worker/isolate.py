"""The processes of a Sandbox: `PYTHON start.py FD FOLDER`; FD is the socket to the caller.

A launcher stays outside of all namespaces.  The keeper of the file system's view (`view.py`) is outside of the process
namespace; inside, the server is process 1, which nothing there can kill and whose end takes everything along.
"""

from __future__ import annotations

import os
import socket
import sys

from kelp.execution.worker import protection
from kelp.execution.worker.folders import holds_home, project_folders, readable_paths
from kelp.execution.worker.protocol import Config, receive, remove_folder
from kelp.execution.worker.server import Forked, Server
from kelp.execution.worker.view import Keeper, View, enter


def main() -> None:
    connection = socket.socket(fileno=int(sys.argv[1]))
    keeper = os.fork()
    if keeper:
        connection.close()
        os.waitpid(keeper, 0)
        remove_folder(sys.argv[2])  # its caller may be gone
        return
    protection.die_with_parent()
    config = receive(connection)
    if config is not None:
        _isolate(connection, config, sys.argv[2])


def _isolate(connection: socket.socket, config: Config, folder: str) -> None:
    """Start the server in namespaces, if this machine has them, and be the keeper of its view until it ends."""
    paths = readable_paths(config)
    os.mkdir(config["scratch"], 0o700)
    active = dict.fromkeys(("network", "ipc", "mounts"), "none")
    view, why = None, "it gives this user no process and mount namespaces"
    alone = protection.own_namespaces()
    if alone:
        copied = [path for path in project_folders(config) if not holds_home(path, config["home"])]
        view = View(folder, config["scratch"], paths[0], copied, config["limits"]["disk_mb"])
        try:
            view.build()
        except OSError as error:
            view, why = None, str(error)
    ours, theirs = socket.socketpair()
    server = os.fork()
    if server:
        connection.close()
        theirs.close()
        if view is not None:
            view.keep(ours)
        os.waitpid(server, 0)
        return
    protection.die_with_parent()
    ours.close()
    keeper = None
    if alone:
        active["processes"] = "own namespace, killed whole after each run"
        active["network"], active["ipc"] = "own namespace with a loopback interface alone", "own namespace"
    else:
        protection.adopt_orphans()
        active["processes"] = "own process group, killed after each run"
    if view is not None:
        enter(view.root)
        keeper = Keeper(theirs, config["scratch"], view.copied)
        active["mounts"] = "own namespace: read-only libraries, copies of the project's folders on a disk in memory"
    perform = None
    try:
        Server(connection, config, paths, keeper, why).serve(active)
    except Forked as forked:
        perform = forked.args[0]
    del config, paths, view, keeper
    if perform is not None:
        perform()
