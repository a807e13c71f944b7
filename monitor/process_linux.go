package monitor

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// maxCommand is the length in bytes of the arguments of a process that are shown.
const maxCommand = 4 << 10

// commandOf returns the arguments of a process, or nil. The process can choose them.
func commandOf(pid int) []string {
	f, err := os.Open(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxCommand+1))
	if err != nil || len(b) == 0 {
		return nil
	}
	if len(b) > maxCommand { // half an argument could have half a URL, whose password is not recognized
		b = append(b[:bytes.LastIndexByte(b[:maxCommand], 0)+1], "…"...)
	}
	var args []string
	for arg := range bytes.SplitSeq(bytes.TrimSuffix(b, []byte{0}), []byte{0}) {
		args = append(args, string(arg))
	}
	return args
}
