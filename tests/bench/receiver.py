"""A host that takes all mail, at every address of 127/8, for as many clients as
files may be open: receiver.py PORT. After each message it writes one byte to its
standard output. Those who come to 127.9/16 find it slow: it reads 8 KiB a
second, and each reply takes a second."""

import asyncio
import os
import sys

END = b"\r\n.\r\n"
EHLO = b"250-mx.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 0\r\n"
REPLIES = {b"EHLO": EHLO, b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}
SLOW_PLACE, SLOW_RATE = "127.9.", 8192


class Session(asyncio.Protocol):
    def __init__(self):
        self.rest, self.is_data, self.messages = b"", False, 0

    def connection_made(self, transport):
        self.transport = transport
        address = transport.get_extra_info("sockname")[0]
        self.is_slow = address.startswith(SLOW_PLACE)
        self.answer(b"220 mx.example ESMTP\r\n", 1)

    def data_received(self, data):
        size = len(data)
        replies = self.take(data)
        if self.is_slow or replies:
            self.answer(b"".join(replies), len(replies) + size / SLOW_RATE)
        if replies and replies[-1] == REPLIES[b"QUIT"] and not self.is_slow:
            self.transport.close()

    def answer(self, text, seconds):
        if not self.is_slow:
            self.say(text)
            return
        self.transport.pause_reading()
        asyncio.get_running_loop().call_later(seconds, self.go_on, text)

    def go_on(self, text):
        if not self.transport.is_closing():
            self.say(text)
            self.transport.resume_reading()

    def say(self, text):
        self.transport.write(text)
        if self.messages:
            os.write(1, b"." * self.messages)
        self.messages = 0

    def take(self, data):
        data, replies = self.rest + data, []
        while data:
            end = data.find(END if self.is_data else b"\r\n")
            if end < 0:
                break
            if self.is_data:
                data, self.is_data = data[end + len(END):], False
                replies.append(b"250 ok\r\n")
                self.messages += 1
                continue
            verb, data = data[:4].upper(), data[end + 2:]
            replies.append(REPLIES.get(verb, b"250 ok\r\n"))
            if verb == b"DATA":
                # What ends a message without a body begins here.
                self.is_data, data = True, b"\r\n" + data
        self.rest = data[-4:] if self.is_data else data
        return replies


async def main():
    server = await asyncio.get_running_loop().create_server(
        Session, "0.0.0.0", int(sys.argv[1]), backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
