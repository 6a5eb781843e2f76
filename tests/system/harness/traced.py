"""Makes another process do a system call, as who has taken it over would.

x86-64, by ptrace(2), as root.
"""

import ctypes
import os
import platform
import signal

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p,
                         ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long

PEEKTEXT, POKEDATA, GETREGS, SETREGS, SINGLESTEP = 1, 5, 12, 13, 9
SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
WORD = 8
SYSCALL = 0x050F  # the instruction, as a little-endian number
# user_regs_struct of <sys/user.h>, in its order
NAMES = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax "
         "rip cs eflags rsp ss fs_base gs_base ds es fs gs").split()
ARGUMENTS = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
MACHINE = "x86_64"


class Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in NAMES]


class Died(Exception):
    """The process ended instead of answering: .signal says by what."""

    def __init__(self, number):
        super().__init__("ended by signal %d" % number)
        self.signal = number


def is_possible():
    return platform.machine() == MACHINE and os.getuid() == 0


def _ptrace(request, pid, address=0, data=0):
    ctypes.set_errno(0)
    result = _libc.ptrace(request, pid, address, data)
    if result < 0 and ctypes.get_errno():
        raise OSError(ctypes.get_errno(), "ptrace %#x" % request)
    return result


def _stopped(pid):
    _, status = os.waitpid(pid, 0x40000000)  # __WALL
    if os.WIFSIGNALED(status):
        raise Died(os.WTERMSIG(status))
    assert os.WIFSTOPPED(status), status
    return os.WSTOPSIG(status)


class Traced:
    """with Traced(pid) as process: process.call(number, argument, …)

    Between calls it stands still; a text among the arguments is put below its
    stack. Afterwards it goes on where it was."""

    def __init__(self, pid):
        self.pid = pid

    def __enter__(self):
        _ptrace(SEIZE, self.pid)
        _ptrace(INTERRUPT, self.pid)
        _stopped(self.pid)
        self.before = Registers()
        _ptrace(GETREGS, self.pid, 0, ctypes.addressof(self.before))
        # It waits in the kernel; the instruction that led there is behind it.
        self.instruction = self.before.rip - 2
        word = _ptrace(PEEKTEXT, self.pid, self.instruction)
        assert word & 0xFFFF == SYSCALL, "not in a system call"
        return self

    def __exit__(self, kind, *_):
        if kind is not None and issubclass(kind, Died):
            return
        _ptrace(SETREGS, self.pid, 0, ctypes.addressof(self.before))
        _ptrace(DETACH, self.pid)

    def look(self):
        """Raises Died where it is killed while it stands still."""
        pid, status = os.waitpid(self.pid, 0x40000000 | os.WNOHANG)
        if pid == self.pid and os.WIFSIGNALED(status):
            raise Died(os.WTERMSIG(status))

    def _put(self, text):
        data = text.encode() + b"\0" * WORD
        place = (self.before.rsp - 4096) & ~(WORD - 1)
        for at in range(0, len(data) - WORD + 1, WORD):
            _ptrace(POKEDATA, self.pid, place + at,
                    int.from_bytes(data[at:at + WORD], "little"))
        return place

    def call(self, number, *arguments):
        """What the kernel answers: below 0 an error's number."""
        registers = Registers()
        ctypes.memmove(ctypes.addressof(registers),
                       ctypes.addressof(self.before), ctypes.sizeof(registers))
        registers.rip = self.instruction
        registers.rax = number
        registers.orig_rax = 2 ** 64 - 1  # nothing is to be begun again
        for name, argument in zip(ARGUMENTS, arguments):
            if isinstance(argument, str):
                argument = self._put(argument)
            setattr(registers, name, argument & (2 ** 64 - 1))
        _ptrace(SETREGS, self.pid, 0, ctypes.addressof(registers))
        _ptrace(SINGLESTEP, self.pid)
        while _stopped(self.pid) != signal.SIGTRAP:
            _ptrace(SINGLESTEP, self.pid)
        _ptrace(GETREGS, self.pid, 0, ctypes.addressof(registers))
        return ctypes.c_longlong(registers.rax).value
