package sandbox

import (
	"io"
	"os"
	"strconv"
	"strings"
)

// A StartWatcher is a log that gets the id of the process. [Run] calls Started once, before it writes to the log.
type StartWatcher interface {
	// Started gets the id of the first process on this machine, or 0 if it is unknown.
	Started(pid int)
}

// reportStart calls Started with the id of the process, if the log is a [StartWatcher].
func (p *process) reportStart(log io.Writer) {
	if w, ok := log.(StartWatcher); ok {
		w.Started(pidOf(p.handle.Load()))
	}
}

// pidOf returns the id of the process of a pidfd, or 0. The kernel has no system call for that.
func pidOf(handle *os.File) int {
	if handle == nil {
		return 0
	}
	fd, err := descriptor(handle)
	if err != nil {
		return 0
	}
	info, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fd))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(info)) {
		if text, ok := strings.CutPrefix(line, "Pid:"); ok {
			pid, err := strconv.Atoi(strings.TrimSpace(text))
			if err == nil && pid > 0 {
				return pid
			}
		}
	}
	return 0
}
