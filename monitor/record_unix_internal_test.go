//go:build unix

package monitor

import (
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A recording that cannot be written any further consists of whole lines, and its first line says
// that it ends.
func TestRecordingEnds(t *testing.T) {
	signal.Ignore(syscall.SIGXFSZ) // Go would end the program
	defer signal.Reset(syscall.SIGXFSZ)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "recording")
	if err := os.WriteFile(name, []byte(strings.Repeat("old\n", 10000)), 0o666); err != nil {
		t.Fatal(err)
	}
	r, err := CreateRecorder(name)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 10)
	r.Failed = func(err error) { failed <- err }
	const limit = 10000
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: limit, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	c := r.connection(1)
	for i := range 1000 {
		c.event(&Event{Time: time.Unix(int64(i), 0), Conn: 1, Failure: &Failure{Reason: "some reason"}})
		if i%10 == 0 {
			c.flush()
		}
	}
	closeErr := r.Close()
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, syscall.EFBIG) || !errors.Is(closeErr, syscall.EFBIG) || len(failed) > 0 {
		t.Errorf("the recorder failed with %v, %v", err, closeErr)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(string(b), "}\n") || len(b) > limit || len(b) < limit-200 {
		t.Errorf("the recording has %d bytes, and ends with %q", len(b), b[len(b)-50:])
	}
	n := 0
	status, err := ReadRecording(strings.NewReader(string(b)), func(*Event) error { n++; return nil })
	if err != nil || !strings.HasPrefix(status, "ends early: ") || n != strings.Count(string(b), eventPrefix) {
		t.Errorf("status %q, %v, %d events", status, err, n)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: others can read the recording", info.Mode(), err)
	}
}

// A file that was not closed, and ends in the middle of a line, is read up to there.
func TestRecordingOfKilledMonitor(t *testing.T) {
	name := filepath.Join(t.TempDir(), "recording")
	r, err := CreateRecorder(name)
	if err != nil {
		t.Fatal(err)
	}
	r.connection(1).event(&Event{Conn: 1, Failure: &Failure{Reason: "some reason"}})
	r.connection(1).flush()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	status, err := ReadRecording(strings.NewReader(string(b)+"#event {\"time\":"), func(*Event) error { n++; return nil })
	if status != statusOpen || err != nil || n != 1 {
		t.Errorf("status %q, %v, %d events", status, err, n)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
