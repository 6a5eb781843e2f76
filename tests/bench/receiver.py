"""A host that takes all mail, for as many clients as files may be open:
receiver.py PORT [SECONDS]. After each message it writes one byte to its
standard output. SECONDS: it reads slowly, and each reply takes so long."""

import asyncio
import os
import sys

END = b"\r\n.\r\n"
EHLO = b"250-mx.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 0\r\n"
REPLIES = {b"EHLO": EHLO, b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}
SLOW_READ = 4096  # bytes, each SECONDS


class Session(asyncio.Protocol):
    """As quick as may be."""

    def __init__(self):
        self.rest, self.is_data = b"", False

    def connection_made(self, transport):
        self.transport = transport
        transport.write(b"220 mx.example ESMTP\r\n")

    def data_received(self, data):
        data, replies = self.rest + data, []
        while data:
            end = data.find(END if self.is_data else b"\r\n")
            if end < 0:
                break
            if self.is_data:
                data, self.is_data = data[end + len(END):], False
                replies.append(b"250 ok\r\n")
                os.write(1, b".")
                continue
            verb = data[:4].upper()
            replies.append(REPLIES.get(verb, b"250 ok\r\n"))
            data = data[end + 2:]
            if verb == b"DATA":
                # What ends a message without a body begins here.
                self.is_data, data = True, b"\r\n" + data
            if verb == b"QUIT":
                self.transport.write(b"".join(replies))
                self.transport.close()
                return
        self.rest = data[-4:] if self.is_data else data
        if replies:
            self.transport.write(b"".join(replies))


async def trickle(reader, writer, seconds):
    """One line at a time, and a long time for each."""
    writer.write(b"220 mx.example ESMTP\r\n")
    try:
        while line := await reader.readline():
            await asyncio.sleep(seconds)
            verb = line[:4].upper()
            writer.write(REPLIES.get(verb, b"250 ok\r\n"))
            if verb == b"QUIT":
                break
            if verb == b"DATA":
                tail = b"\r\n"
                while not tail.endswith(END):
                    more = await reader.read(SLOW_READ)
                    if not more:
                        return
                    tail = (tail + more)[-5:]
                    await asyncio.sleep(seconds)
                os.write(1, b".")
                writer.write(b"250 ok\r\n")
    except ConnectionError:
        pass
    finally:
        writer.close()


async def main():
    port = int(sys.argv[1])
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 0
    if seconds:
        server = await asyncio.start_server(
            lambda reader, writer: trickle(reader, writer, seconds),
            "0.0.0.0", port, backlog=4096, limit=65536)
    else:
        server = await asyncio.get_running_loop().create_server(
            Session, "0.0.0.0", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
