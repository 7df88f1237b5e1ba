"""The system calls that strangers' programs may make: Docker's own choice, less what evades our limits.

A container has one profile. Ours takes the place of the Engine's, so it allows only what the default profiles
of all supported Engines (20.10, 26.1, 29) allow without capabilities, see ``seccomp/default.json`` of
https://github.com/moby/profiles. Programs do without what only the newer ones allow, as on the older. Left
out besides:

- what takes room that no length of a file shows, by which the Engine counts (``SizeRw``): the modes of
  ``fallocate``, such as ``FALLOC_FL_KEEP_SIZE``; the same as an ``ioctl`` of type ``X`` (``FS_IOC_RESVSP``,
  ``FS_IOC_ZERO_RANGE``, see ``fs/ioctl.c`` of Linux), with which an owner also takes a file out of a project
  quota (``FS_IOC_FSSETXATTR``); extended attributes, of which XFS keeps any number;
- ``io_uring``, which works past any filter, ``ptrace`` and what reads the memory of other processes;
- rare families of sockets, from ``AF_ALG`` on.

gVisor has a kernel of its own and ignores the profile.
"""

import json
from typing import Any

_ALLOWED = """
_llseek _newselect accept accept4 access adjtimex alarm bind brk capget capset chdir chmod chown chown32
clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create
epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2
execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fanotify_mark fchdir fchmod
fchmodat fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fstat
fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_time64 futex_waitv futimesat
get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid
getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom
getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname getsockopt gettid
gettimeofday getuid getuid32 getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch
io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioprio_get
ioprio_set ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32
lgetxattr link linkat listen listxattr llistxattr lremovexattr lseek lstat lstat64 madvise membarrier
memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect
mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
mq_unlink mremap msgctl msgget msgrcv msgsnd msync munlock munlockall munmap nanosleep newfstatat open
openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 poll ppoll ppoll_time64 prctl pread64 preadv
preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead
readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr rename
renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max
sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile
sendfile64 sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address setfsgid setfsgid32
setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32
setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid setuid32
shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall
socketpair splice stat stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range syncfs sysinfo
tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times
tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat utime utimensat utimensat_time64 utimes
vfork vmsplice wait4 waitid waitpid write writev
"""

_UNSUPPORTED, _NO_SUCH_CALL = 95, 38
"""``EOPNOTSUPP`` and ``ENOSYS`` of errno(3): after these, programs try another way."""

_NEW_NAMESPACES = 0x7E020000
"""Flags of clone(2)."""

_AF_ALG = 38

_IOCTL_TYPE = range(8, 16)
"""Bits of an ioctl's number that hold its type, see ``include/uapi/asm-generic/ioctl.h`` of Linux."""


def _rule(
    names: str, *, action: str = "ALLOW", arg: tuple[int, str, int, int] | None = None, **more: Any
) -> dict[str, Any]:
    if arg is not None:
        index, comparison, value, value_two = arg
        more["args"] = [
            {"index": index, "op": f"SCMP_CMP_{comparison}", "value": value, "valueTwo": value_two}
        ]
    return {"names": names.split(), "action": f"SCMP_ACT_{action}", **more}


def _ioctls() -> list[dict[str, Any]]:
    """Those whose type differs from ``X`` in one bit or another.

    The kernel takes the lower half of the argument, a filter compares all of it: only masks see the same.
    """
    kept = ord("X") << _IOCTL_TYPE.start
    bits = [1 << number for number in _IOCTL_TYPE]
    return [_rule("ioctl", arg=(1, "MASKED_EQ", bit, ~kept & bit)) for bit in bits]


def _profile() -> dict[str, Any]:
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        ],
        "syscalls": [
            _rule(_ALLOWED),
            _rule("arch_prctl modify_ldt", includes={"arches": ["amd64"]}),
            _rule(
                "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2",
                includes={"arches": ["arm64"]},
            ),
            _rule("chroot", includes={"caps": ["CAP_SYS_CHROOT"]}),
            _rule("get_mempolicy mbind set_mempolicy", includes={"caps": ["CAP_SYS_NICE"]}),
            *(
                _rule("personality", arg=(0, "EQ", value, 0))
                for value in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)
            ),
            _rule("clone", arg=(0, "MASKED_EQ", _NEW_NAMESPACES, 0)),
            # Its flags are in memory, where no filter reads.
            _rule("clone3", action="ERRNO", errnoRet=_NO_SUCH_CALL),
            _rule("socket", arg=(0, "LT", _AF_ALG, 0)),
            _rule("fallocate", arg=(1, "EQ", 0, 0)),
            _rule("fallocate", arg=(1, "NE", 0, 0), action="ERRNO", errnoRet=_UNSUPPORTED),
            _rule("setxattr lsetxattr fsetxattr", action="ERRNO", errnoRet=_UNSUPPORTED),
            *_ioctls(),
        ],
    }


PROFILE = json.dumps(_profile(), separators=(",", ":"))
"""As the Docker API takes it, after ``seccomp=`` among the ``SecurityOpt`` of a container."""
