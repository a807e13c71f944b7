package activebuilds

import (
	"bytes"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pix/store"
)

// Builders decide how many processes they start, and with which arguments.
const (
	maxProcesses = 1 << 10 // of a build
	maxListed    = 1 << 14 // processes of a list
	maxArgs      = 4 << 10 // bytes of the arguments of a process
	maxAllArgs   = 1 << 20 // bytes of the arguments of a list
)

// addProcesses sets the processes of builds and their processor times. A build with a cgroup has the processes
// of the cgroup; another one has its first process and all descendants.
func addProcesses(builds []store.ActiveBuild) {
	if len(builds) == 0 {
		return
	}
	all := readProcesses()
	children := make(map[int][]int)
	for pid, p := range all {
		children[p.Parent] = append(children[p.Parent], pid)
	}
	names := make(map[int]string)
	listed, args := 0, int64(maxAllArgs)
	for i := range builds {
		b := &builds[i]
		pids := members(b.Cgroup)
		if b.Cgroup != "" {
			b.CPUUser, b.CPUSystem = cgroupTimes(b.Cgroup)
		} else {
			pids = descendants(b.PID, children)
		}
		for _, pid := range pids[:min(len(pids), maxProcesses)] {
			if p, ok := all[pid]; ok && listed < maxListed {
				listed++
				p.User.Name = userName(names, p.User.UID)
				text := readFile("/proc/"+strconv.Itoa(pid)+"/cmdline", min(maxArgs, args))
				args -= int64(len(text))
				p.Args = splitArgs(string(text))
				b.Processes = append(b.Processes, p)
			}
		}
		b.User.Name = userName(names, b.User.UID)
	}
}

// descendants returns a process and all processes below it, each after its parent.
func descendants(pid int, children map[int][]int) []int {
	if pid <= 0 {
		return nil
	}
	pids := []int{pid}
	for i := 0; i < len(pids) && len(pids) < maxProcesses; i++ {
		pids = append(pids, children[pids[i]]...)
	}
	return pids
}

// members returns the processes of a cgroup.
func members(cgroup string) (pids []int) {
	if cgroup == "" {
		return nil
	}
	for line := range strings.Lines(string(readFile(filepath.Join(cgroup, "cgroup.procs"), 1<<20))) {
		if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// cgroupTimes returns the processor time of a cgroup, or nil if it cannot be read.
func cgroupTimes(cgroup string) (user, system *time.Duration) {
	for line := range strings.Lines(string(readFile(filepath.Join(cgroup, "cpu.stat"), maxText))) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			continue
		}
		d := time.Duration(n) * time.Microsecond
		switch name {
		case "user_usec":
			user = &d
		case "system_usec":
			system = &d
		}
	}
	return user, system
}

// readProcesses returns all processes of this machine, without their arguments. It leaves out those that end meanwhile.
func readProcesses() map[int]store.ActiveProcess {
	all := make(map[int]store.ActiveProcess)
	dir, err := os.Open("/proc")
	if err != nil {
		return all
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return all
	}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, ok := readProcess(pid); ok {
			all[pid] = p
		}
	}
	return all
}

// readProcess reads /proc/PID/stat. See proc_pid_stat(5).
func readProcess(pid int) (p store.ActiveProcess, ok bool) {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return p, false
	}
	defer f.Close()
	text := readAll(f, maxText)
	end := bytes.LastIndexByte(text, ')') // the name of the program before it may contain anything
	info, err := f.Stat()
	if end < 0 || err != nil {
		return p, false
	}
	fields := strings.Fields(string(text[end+1:]))
	const parent, firstTime, numTimes = 1, 11, 4
	if len(fields) < firstTime+numTimes {
		return p, false
	}
	p.PID = pid
	p.Parent, _ = strconv.Atoi(fields[parent])
	if st, has := info.Sys().(*syscall.Stat_t); has {
		p.User.UID = int(st.Uid)
	}
	for i, to := range []**time.Duration{&p.CPUUser, &p.CPUSystem, &p.ChildUser, &p.ChildSystem} {
		const tick = time.Second / 100 // USER_HZ, which is 100 on every architecture of Go
		if n, err := strconv.ParseInt(fields[firstTime+i], 10, 64); err == nil {
			d := time.Duration(n) * tick
			*to = &d
		}
	}
	return p, true
}

// splitArgs returns the arguments in the file cmdline of a process. It is empty if the process has ended.
func splitArgs(text string) []string {
	text = strings.TrimRight(text, "\x00")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\x00")
}

// userName returns the name of a user, or "". It asks once for each user.
func userName(names map[int]string, uid int) string {
	name, asked := names[uid]
	if !asked {
		if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
			name = u.Username
		}
		names[uid] = name
	}
	return name
}

// readFile returns the beginning of a file, or nil if it cannot be read. The files of a process that has ended cannot.
func readFile(name string, limit int64) []byte {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	return readAll(f, limit)
}

func readAll(f *os.File, limit int64) []byte {
	text, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil
	}
	return text
}
