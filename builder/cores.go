package builder

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// cores returns the value of NIX_BUILD_CORES.
func (o *Options) cores() int {
	if o.Cores > 0 {
		return o.Cores
	}
	if n := coresOfCgroup(); n > 0 {
		return n
	}
	return runtime.NumCPU()
}

// coresOfCgroup returns how many processors the cgroup of this process may use, rounded up; 0 if there is no limit.
func coresOfCgroup() int {
	dir := ownCgroup()
	if dir == "" {
		return 0
	}
	text, err := os.ReadFile(filepath.Join(dir, "cpu.max"))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) != 2 {
		return 0
	}
	quota, err1 := strconv.Atoi(fields[0]) // or "max"
	period, err2 := strconv.Atoi(fields[1])
	if err1 != nil || err2 != nil || period <= 0 {
		return 0
	}
	return int(math.Ceil(float64(quota) / float64(period)))
}

// ownCgroup returns the directory of the cgroup of version 2 that this process is in, or "".
func ownCgroup() string {
	mount := cgroupMount()
	text, err := os.ReadFile("/proc/self/cgroup")
	if mount == "" || err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			return filepath.Join(mount, path)
		}
	}
	return ""
}

// cgroupMount returns where the cgroups of version 2 are mounted, or "".
func cgroupMount() string {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[2] == "cgroup2" {
			return fields[1]
		}
	}
	return ""
}
