"""What a service tells systemd, by the protocol of sd_notify(3): one datagram of lines."""

import os
import socket


def notify(*lines: str) -> bool:
    """Send the lines, such as ``READY=1``, to the service manager that started this process.

    Returns:
        Whether they were sent; false without a service manager that wants them.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or address[0] not in "/@":
        return False
    if address[0] == "@":  # an abstract socket
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto("\n".join(lines).encode(), address)
    except OSError:
        return False
    return True
