package server_test

import (
	"io"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pix/server"
)

func fmtPID() string { return strconv.Itoa(os.Getpid()) }

func TestStdio(t *testing.T) {
	theirIn, in := pipe(t)
	out, theirOut := pipe(t)
	nc, err := server.Stdio(theirIn, theirOut)
	if err != nil {
		t.Fatal(err)
	}
	in.Write([]byte("hello"))
	b := make([]byte, 5)
	if _, err := io.ReadFull(nc, b); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	nc.Write([]byte("there"))
	if _, err := io.ReadFull(out, b); err != nil || string(b) != "there" {
		t.Errorf("%q, %v", b, err)
	}
	// Close ends a blocked Read.
	ended := make(chan error)
	go func() {
		_, err := nc.Read(b)
		ended <- err
	}()
	time.Sleep(5 * time.Millisecond)
	nc.Close()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("a closed connection can be read")
		}
	case <-time.After(time.Minute):
		t.Fatal("Close does not end a Read")
	}
	// The files have their former flags.
	flags, err := unix.FcntlInt(theirIn.Fd(), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("%#x, %v", flags, err)
	}
}

// pipe returns a pipe with blocking ends, like the standard streams of a process.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe(fds[:]); err != nil {
		t.Fatal(err)
	}
	r, w = os.NewFile(uintptr(fds[0]), "r"), os.NewFile(uintptr(fds[1]), "w")
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}
