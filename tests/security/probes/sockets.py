"""Tries to connect to an abstract unix socket and to a TCP port of 127.0.0.1, which are given as arguments."""

import socket
import sys

name, port = sys.argv[1:]
for family, address in ((socket.AF_UNIX, f"\0{name}"), (socket.AF_INET, ("127.0.0.1", int(port)))):
    try:
        socket.socket(family).connect(address)
        print("reached")
    except OSError as error:
        print(type(error).__name__)
