package builder

import "fmt"

// describeExit returns how a process ended, with the text of Nix. code is -1 if a signal ended it.
func describeExit(code, signal int) string {
	switch {
	case code > 0:
		return fmt.Sprintf("failed with exit code %d", code)
	case code == 0:
		return "succeeded"
	case signal > 0:
		return fmt.Sprintf("failed due to signal %d (%s)", signal, signalName(signal))
	}
	return "died abnormally"
}

// signalNames are the descriptions of the GNU C library.
var signalNames = [...]string{
	1: "Hangup", "Interrupt", "Quit", "Illegal instruction", "Trace/breakpoint trap", "Aborted", "Bus error",
	8: "Floating point exception", "Killed", "User defined signal 1", "Segmentation fault", "User defined signal 2",
	13: "Broken pipe", "Alarm clock", "Terminated", "Stack fault", "Child exited", "Continued", "Stopped (signal)",
	20: "Stopped", "Stopped (tty input)", "Stopped (tty output)", "Urgent I/O condition", "CPU time limit exceeded",
	25: "File size limit exceeded", "Virtual timer expired", "Profiling timer expired", "Window changed", "I/O possible",
	30: "Power failure", "Bad system call",
}

// minRealTime is the first real-time signal that the GNU C library leaves to programs.
const minRealTime = 34

func signalName(signal int) string {
	switch {
	case signal < len(signalNames):
		return signalNames[signal]
	case signal >= minRealTime && signal <= 64:
		return fmt.Sprintf("Real-time signal %d", signal-minRealTime)
	}
	return fmt.Sprintf("Unknown signal %d", signal)
}
