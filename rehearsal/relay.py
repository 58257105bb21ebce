"""Run by QEMU for every connection of a guest to its metadata service: standard input and output to a port here."""

import os
import selectors
import socket
import sys


def main() -> None:
    """Pass on bytes until one side is through."""
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as peer, selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(peer, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                data = peer.recv(65536) if key.fileobj is peer else os.read(0, 65536)
                if key.fileobj is peer and not data:
                    return
                if key.fileobj is peer:
                    os.write(1, data)
                elif data:
                    peer.sendall(data)
                else:
                    selector.unregister(0)
                    peer.shutdown(socket.SHUT_WR)


main()
