"""A real Slurm cluster on this machine: munged, slurmctld and one slurmd per virtual node, all inside one folder.

The scheduler is real; the nodes' CPUs, memory and GPUs are only numbers in its configuration. Nothing is written
outside the folder, and no cgroup, systemd or accounting database is needed.
"""

import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("sbatch", "slurmctld", "slurmd", "munged")
FINAL = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"}
NODE_LINE = "NodeName=n{i} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=16 RealMemory=64000 Gres=gpu:{gpus}"
GRES_LINE = "NodeName=n{i} Name=gpu File={folder}/devices/n{i}-[0-{last}]"
CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MailProg=/bin/true
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=1000
SchedulerParameters=bf_interval=1,sched_interval=1
ReturnToService=2
KillWait=2
MinJobAge=86400
GresTypes=gpu
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Return why no cluster can be started here, empty if one can."""
    absent = [program for program in PROGRAMS if not shutil.which(program)]
    if absent:
        return f"{', '.join(absent)} not found: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "slurmd runs as root only"


def until(done: Callable[[], object], timeout: float, what: Callable[[], str]) -> None:
    """Poll until `done()` is true. When time is up, the error quotes `what()`."""
    deadline = time.monotonic() + timeout
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{timeout:g} s passed: {what()}")
        time.sleep(0.1)


@dataclass(frozen=True)
class Cluster:
    folder: Path
    env: dict[str, str]
    daemons: list[subprocess.Popen] = field(default_factory=list)

    @property
    def conf(self) -> Path:
        return self.folder / "slurm.conf"

    def run(self, *command: str, text: str | None = None) -> str:
        """Run a Slurm command in the cluster's folder and return its stdout."""
        done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=self.folder, env=self.env)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout.strip()

    def submit(self, script: str, *options: str) -> str:
        """Submit the lines of a bash script as a job and return its id."""
        return self.run("sbatch", "--parsable", *options, text=f"#!/bin/bash\n{script}\n")

    def states(self, job: str) -> list[str]:
        """Return one state for each task of the job's array, or of the job."""
        return self.run("squeue", "--noheader", "--states=all", "--array", "--format=%T", f"--jobs={job}").split()

    def wait(self, job: str, timeout: float = 60) -> str:
        """Wait for a job's final state and return it; the different states of an array are joined by commas."""
        until(lambda: FINAL.issuperset(self.states(job)), timeout, lambda: f"{self.squeue()}\n{self.logs()}")
        return ",".join(sorted(set(self.states(job))))

    def wait_for(self, job: str, state: str, timeout: float = 60) -> None:
        """Wait until all tasks of a job are in this state, which need not be a final one."""
        until(lambda: set(self.states(job)) == {state}, timeout, lambda: f"{self.squeue()}\n{self.logs()}")

    def show(self, job: str) -> list[dict[str, str]]:
        """Return the controller's record of a job, one for each task of an array."""
        lines = self.run("scontrol", "--oneliner", "show", "job", job).splitlines()
        return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]

    def output(self, job: str) -> str:
        """Return the output of a job so far; that of an array in the order of its tasks."""
        tasks = sorted(self.show(job), key=lambda task: int(task.get("ArrayTaskId", 0)))
        files = [Path(task["StdOut"]) for task in tasks]
        return "".join(file.read_text() for file in files if file.exists())  # a waiting task has none

    def squeue(self) -> str:
        """List the jobs that wait or run, one a line: id, state, name, reason or nodes."""
        return self.run("squeue", "--noheader", "--array", "--format=%i %T %j %R")

    def cancel(self, *arguments: str) -> None:
        self.run("scancel", *arguments)

    def processes(self) -> list[int]:
        """List all living processes of the daemons and of the jobs, in or out of a process group."""
        return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdecimal() and self._owns(p)]

    def _owns(self, process: Path) -> bool:
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            name = (process / "comm").read_text().strip()
        except OSError:
            return False  # it has ended
        if f"SLURM_CONF={self.conf}".encode() not in environment:
            return False
        in_job = any(variable.startswith(b"SLURM_JOB_ID=") for variable in environment)
        return in_job or name.startswith(("slurm", "munged"))

    def logs(self) -> str:
        """Return the ends of all the daemons' logs."""
        return "\n".join(f"{log.name}:\n{log.read_text()[-2000:]}" for log in sorted(self.folder.glob("*.log")))

    def start(self, *command: str) -> None:
        """Start a daemon in the foreground; it ends with this process, even if that is killed."""
        with (self.folder / f"daemon-{len(self.daemons)}-{command[0]}.log").open("w") as log:
            tied = ("setpriv", "--pdeathsig", "TERM", *command)
            self.daemons.append(subprocess.Popen(tied, stdout=log, stderr=log, env=self.env))

    def alive(self) -> bool:
        dead = [daemon.args for daemon in self.daemons if daemon.poll() is not None]
        assert not dead, f"{dead} ended\n{self.logs()}"
        return True

    def idle(self) -> bool:
        """True if the controller answers and every node is idle."""
        command = ("sinfo", "--noheader", "--Node", "--format=%T")
        seen = subprocess.run(command, capture_output=True, text=True, env=self.env)
        return self.alive() and seen.returncode == 0 and set(seen.stdout.split()) == {"idle"}

    def until_idle(self) -> None:
        """Wait until nodes that were set down have registered again, which they do by themselves."""
        until(self.idle, 90, lambda: self.run("sinfo", "--Node", "--long"))

    def stop(self) -> None:
        """Cancel all jobs, wait for their processes, then end the daemons, the last started first."""
        if all(daemon.poll() is None for daemon in self.daemons):
            self.cancel("--user=root")
            until(lambda: not self.squeue(), 30, self.squeue)
        for daemon in reversed(self.daemons):
            daemon.terminate()
            daemon.wait(timeout=30)


def _free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def _write(folder: Path, nodes: int, gpus: int) -> None:
    (folder / "state").mkdir(mode=0o700)
    (folder / "devices").mkdir()
    host, ports = socket.gethostname().split(".")[0], _free_ports(nodes + 1)
    lines = [NODE_LINE.format(i=i, host=host, port=ports[i], gpus=gpus) for i in range(1, nodes + 1)]
    gres = [GRES_LINE.format(i=i, folder=folder, last=gpus - 1) for i in range(1, nodes + 1)]
    (folder / "slurm.conf").write_text(CONF.format(host=host, port=ports[0], folder=folder, nodes="\n".join(lines)))
    (folder / "gres.conf").write_text("\n".join(gres) + "\n")
    for i in range(1, nodes + 1):
        for gpu in range(gpus):  # slurmd insists on character devices; each is another /dev/null
            os.mknod(folder / f"devices/n{i}-{gpu}", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o400)


@contextmanager
def running(folder: Path, nodes: int = 2, gpus: int = 8) -> Iterator[Cluster]:
    """Run a cluster of idle nodes n1, n2, …; all its jobs and daemons end with it."""
    _write(folder, nodes, gpus)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH", "SRUN"))}
    cluster = Cluster(folder, clean | {"SLURM_CONF": str(folder / "slurm.conf")})
    munge = {name: folder / f"munge.{name}" for name in ("key", "socket", "pid", "seed")}
    try:
        files = (f"--key-file={munge['key']}", f"--pid-file={munge['pid']}", f"--seed-file={munge['seed']}")
        cluster.start("munged", "--foreground", "--force", f"--socket={munge['socket']}", *files)
        until(lambda: cluster.alive() and munge["socket"].exists(), 20, cluster.logs)
        cluster.start("slurmctld", "-D", "-c")
        for i in range(1, nodes + 1):
            cluster.start("slurmd", "-D", "-N", f"n{i}")
        until(cluster.idle, 60, cluster.logs)
        yield cluster
    finally:
        cluster.stop()
        for process in cluster.processes():
            os.kill(process, signal.SIGKILL)
