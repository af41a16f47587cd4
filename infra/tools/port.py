"""Prints a port of 127.0.0.1 on which nothing listens. It lies below those that a system gives to
whoever asks for any, so that no other process takes it before it is used."""

import random
import socket

PORTS = range(20_000, 32_000)


def free_port():
    while True:
        port = random.choice(PORTS)
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


if __name__ == "__main__":
    print(free_port())
