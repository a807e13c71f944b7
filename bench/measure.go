package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A measure is the cost of one run of a contender.
type measure struct {
	Elapsed time.Duration
	CPU     time.Duration // the user and system time, or 0 if it is unknown
	Peak    int64         // the largest resident memory of a process, in bytes
}

// figures are the measurements of a contender.
type figures struct {
	name    string
	elapsed []time.Duration
	cpu     []time.Duration
	peak    int64 // of all rounds
	failed  bool
}

func (f *figures) add(m measure) {
	f.elapsed = append(f.elapsed, m.Elapsed)
	f.cpu = append(f.cpu, m.CPU)
	f.peak = max(f.peak, m.Peak)
}

// median returns the median of the elapsed times.
func (f *figures) median() time.Duration { return median(f.elapsed) }

func median(times []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)/2]
}

// measureArg is the argument with which this program measures a command.
const measureArg = "measure-command"

// measureCommand runs a command, and measures it. The command must succeed. Its standard output is discarded.
//
// A small process runs the command: the system counts the memory that a process has when it executes a program as memory
// of the program, too. So the peak is never less than about 10 MB.
func measureCommand(cmd *exec.Cmd) (measure, error) {
	self, err := os.Executable()
	if err != nil {
		return measure{}, err
	}
	report, w, err := os.Pipe()
	if err != nil {
		return measure{}, err
	}
	defer report.Close()
	cmd.Args = append([]string{self, measureArg, cmd.Path}, cmd.Args[1:]...)
	cmd.Path, cmd.Err = self, nil
	cmd.ExtraFiles = []*os.File{w}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err = cmd.Start()
	w.Close()
	if err != nil {
		return measure{}, err
	}
	text, readErr := io.ReadAll(report)
	if err := cmd.Wait(); err != nil {
		return measure{}, fmt.Errorf("%w: %s", err, lastLine(stderr.String()))
	}
	if readErr != nil {
		return measure{}, readErr
	}
	var m measure
	err = json.Unmarshal(text, &m)
	return m, err
}

// lastLine returns the last line of the messages of a failed command.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// measureChild runs the command in args, and writes the measure to file descriptor 3. If the command prints a line
// "elapsed DURATION", that is the elapsed time: it has prepared its work before.
func measureChild(args []string) int {
	report := os.NewFile(3, "report")
	syscall.CloseOnExec(3)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr
	var tail tailWriter
	cmd.Stdout = &tail
	start := time.Now()
	err := cmd.Run()
	m := measure{Elapsed: time.Since(start)}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode() // the command has printed the reason
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if text, ok := strings.CutPrefix(lastLine(string(tail.b)), elapsedPrefix); ok {
		if m.Elapsed, err = time.ParseDuration(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	m.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	m.Peak = cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	if err := json.NewEncoder(report).Encode(m); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

const elapsedPrefix = "elapsed "

// A tailWriter keeps the last bytes that are written.
type tailWriter struct{ b []byte }

func (w *tailWriter) Write(p []byte) (int, error) {
	const kept = 64
	w.b = append(w.b, p[max(0, len(p)-kept):]...)
	w.b = append(w.b[:0], w.b[max(0, len(w.b)-kept):]...)
	return len(p), nil
}

// measureProcesses measures work that other processes do for this one, such as a daemon. pids returns these processes.
func measureProcesses(pids func() []int, work func() error) (measure, error) {
	done, peak := make(chan struct{}), make(chan int64)
	go func() {
		largest := int64(0)
		for ended := false; !ended; {
			select {
			case <-done:
				ended = true
			case <-time.After(200 * time.Millisecond):
			}
			for _, pid := range pids() {
				largest = max(largest, residentPeak(pid))
			}
		}
		peak <- largest
	}()
	start := time.Now()
	err := work()
	m := measure{Elapsed: time.Since(start)}
	close(done)
	m.Peak = <-peak
	return m, err
}

// residentPeak returns the largest resident memory that a process has had, in bytes, or 0 if it has ended.
func residentPeak(pid int) int64 {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kilobytes int64
	fmt.Sscan(rest, &kilobytes) // a zombie has no such line
	return kilobytes << 10
}

// processorTime returns the user and system time of processes. One that has ended counts as 0.
func processorTime(pids []int) time.Duration {
	const tick = 10 * time.Millisecond // the same on all Linux systems
	var ticks int64
	for _, pid := range pids {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // the name may contain spaces
		for _, field := range fields[11:13] {
			n, _ := strconv.ParseInt(field, 10, 64) // the system writes numbers
			ticks += n
		}
	}
	return time.Duration(ticks) * tick
}
