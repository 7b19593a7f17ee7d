"""A whole Slurm on this machine, as another user of it would never notice: two nodes that are both this one, every file in
one directory, ports of its own. Debian's slurm-wlm allows several slurmd on one host."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess

import annulus_runner as annulus

CONFIG = """ClusterName=annulus
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={at}/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={at}/state
SlurmdSpoolDir={at}/spool/%n
SlurmctldPidFile={at}/slurmctld.pid
SlurmdPidFile={at}/slurmd-%n.pid
SlurmctldLogFile={at}/log/slurmctld
SlurmdLogFile={at}/log/slurmd-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
TmpFS={at}/tmp/%n
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=1,sched_interval=2
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=8 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=8 State=UNKNOWN
PartitionName=train Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


def why_not():
    """What this machine lacks for it; "" where nothing."""
    missing = [tool for tool in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(tool, path=PATH)]
    if missing:
        return f"no {', '.join(missing)} (apt-get install slurm-wlm munge)"
    return "" if os.geteuid() == 0 else "slurmd wants root"


PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Slurm:
    def __init__(self, directory):
        self.at = pathlib.Path(directory)
        self.env = annulus.environment({
            "PATH": PATH, "SLURM_CONF": str(self.at / "slurm.conf"), "ANNULUS": str(annulus.program),
            "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            # Both nodes are one machine, which Open MPI's own shared memory takes for two of one name.
            "OMPI_MCA_btl": "self,tcp"})
        self.daemons = []

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        for name in ("munge", "state", "log", "spool/n1", "spool/n2", "tmp/n1", "tmp/n2"):
            (self.at / name).mkdir(parents=True, mode=0o700)
        self.at.chmod(0o755)  # munge refuses a socket that not everybody can reach
        (self.at / "munge").chmod(0o755)
        key = self.at / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        host = socket.gethostname().split(".")[0]
        (self.at / "slurm.conf").write_text(CONFIG.format(at=self.at, host=host, ports=free_ports(3)))
        munge = self.at / "munge"
        self.daemon("munged", "--force", "--foreground", f"--socket={munge}/socket", f"--key-file={key}",
                    f"--pid-file={munge}/pid", f"--log-file={munge}/log", f"--seed-file={munge}/seed")
        annulus.wait_until((munge / "socket").exists, "munge")
        self.daemon("slurmctld", "-D", "-c")
        for node in ("n1", "n2"):
            self.daemon("slurmd", "-D", "-c", "-N", node)
        annulus.wait_until(lambda: self.run("sinfo", "-h", "-o", "%T").out.split() == ["idle"], "two idle nodes", 60)

    def daemon(self, *command):
        log = open(self.at / "log" / f"{pathlib.Path(command[0]).name}-{len(self.daemons)}.out", "w")
        self.daemons.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env,
                                             start_new_session=True))
        log.close()

    def stop(self):
        if len(self.daemons) > 1:
            self.run("scancel", "--user=root")
            annulus.wait_until(lambda: not self.run("squeue", "-h").out.strip(), "the end of all jobs", 60)
        for daemon in reversed(self.daemons):
            annulus.end(daemon)
        for name in pathlib.Path("/proc").glob("[0-9]*/environ"):  # steps that outlived it
            try:
                if str(self.at).encode() in name.read_bytes():
                    os.kill(int(name.parent.name), signal.SIGKILL)
            except (OSError, ProcessLookupError):
                pass  # it has ended meanwhile

    def run(self, *command, cwd=None, **changes):
        return annulus.run_command(command, {**self.env, **changes}, cwd)

    def submit(self, script, *arguments, options=(), cwd=None):
        """Returns the number of the job."""
        result = self.run("sbatch", "--parsable", *options, script, *arguments, cwd=cwd)
        if result.code != 0:
            raise AssertionError(str(result))
        return result.out.strip()

    def state(self, job):
        """RUNNING, COMPLETED, FAILED ..., and the exit code of the batch script."""
        fields = dict(word.split("=", 1) for word in self.run("scontrol", "show", "job", job).out.split() if "=" in word)
        return fields["JobState"], int(fields["ExitCode"].split(":")[0])

    def wait(self, job):
        annulus.wait_until(lambda: self.state(job)[0] not in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING"),
                           f"the end of job {job}")
        return self.state(job)
