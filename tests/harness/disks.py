"""Disks that fail and can be repaired."""

import resource
import subprocess


class Mount:
    """A disk of 1 MiB in memory. Making one raises PermissionError without root's rights."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
        try:
            subprocess.run(command, capture_output=True, text=True, check=True)
        except FileNotFoundError:
            raise PermissionError("there is no mount(8)") from None
        except subprocess.CalledProcessError as error:
            raise PermissionError(f"cannot mount: {error.stderr.strip()}") from None

    def fill(self):
        with (self.folder / "filler").open("wb", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue

    def make_read_only(self):
        subprocess.run(["mount", "-o", "remount,ro", str(self.folder)], check=True)

    def repair(self):
        subprocess.run(["mount", "-o", "remount,rw", str(self.folder)], check=True)
        (self.folder / "filler").unlink(missing_ok=True)

    def remove(self):
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


class Full:
    """A disk that fills up."""

    def __init__(self, folder):
        self._mount = Mount(folder)
        self.break_down = self._mount.fill
        self.repair = self._mount.repair
        self.remove = self._mount.remove


class Broken:
    """A disk that answers every write with an error, because this process may write no files."""

    def __init__(self, folder):
        folder.mkdir()
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def break_down(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, self._limits[1]))

    def repair(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)

    def remove(self):
        self.repair()
