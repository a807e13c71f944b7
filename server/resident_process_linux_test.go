package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pix/internal/testenv"
	"pix/protocol"
	"pix/server"
	"pix/storepath"
	"pix/wire"
)

// A resident is a server in its own process.
type resident struct {
	t      *testing.T
	socket string
	pid    int
	peak   func() int // ends the process and returns the most memory in use in megabytes
}

func startResident(t *testing.T, kind string, trust bool) *resident {
	t.Helper()
	r := &resident{t: t, socket: filepath.Join(testenv.SocketDir(t), "s")}
	cmd := exec.Command(os.Args[0], "-test.run=^TestResidentServer$")
	cmd.Env = append(os.Environ(), residentStore+"="+kind, residentSocket+"="+r.socket, residentTrust+"="+strconv.FormatBool(trust))
	cmd.Stderr = os.Stderr
	alive, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.peak = sync.OnceValue(func() (mb int) {
		alive.Close()
		fmt.Fscan(out, &mb)
		io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the process with the server: %v", err)
		}
		return mb
	})
	t.Cleanup(func() { r.peak() })
	r.pid = cmd.Process.Pid
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if nc, err := net.Dial("unix", r.socket); err == nil {
			nc.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the process with the server does not listen")
		}
	}
	if raceEnabled {
		return r
	}
	// The memory for creating the store does not count.
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", r.pid), []byte("5"), 0); err != nil {
		t.Skipf("the system does not reset the peak memory of a process: %v", err)
	}
	return r
}

// TestResidentServer is the process with the server.
func TestResidentServer(t *testing.T) {
	socket := os.Getenv(residentSocket)
	if socket == "" {
		t.Skip("only other tests run this test")
	}
	access := &server.Access{Allowed: []string{"*"}}
	if os.Getenv(residentTrust) == "true" {
		access.Trusted = []string{"*"}
	}
	s := &server.Server{Store: residentStores[os.Getenv(residentStore)](t), Access: access}
	debug.FreeOSMemory()
	peak := watchMemory()
	l, err := server.ListenUnix(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		io.Copy(io.Discard, os.Stdin) // until the other process closes it
		fmt.Println(peak() >> 20)
		cancel()
	}()
	if err := s.Serve(ctx, l); err != nil {
		t.Error(err)
	}
}

// watchMemory returns a function that returns the largest number of bytes that garbage
// collections have found in use.
func watchMemory() (peak func() uint64) {
	var most atomic.Uint64
	go func() {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		for {
			metrics.Read(live)
			most.Store(max(most.Load(), live[0].Value.Uint64()))
			time.Sleep(5 * time.Millisecond)
		}
	}()
	return most.Load
}

// megabytes returns the peak memory of the process in megabytes. The race detector needs
// several times as much as the program, and slows down garbage collection. So with it only the
// memory in use counts.
func (r *resident) megabytes() int {
	r.t.Helper()
	if raceEnabled {
		return r.peak()
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.pid))
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if kb, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kb), "kB")))
			if err != nil {
				r.t.Fatal(err)
			}
			return n >> 10
		}
	}
	r.t.Fatal("the system does not report the peak memory")
	return 0
}

func (r *resident) check() {
	r.t.Helper()
	if mb := r.megabytes(); mb > maxResident {
		r.t.Errorf("the server used %d MB, more than the limit of %d", mb, maxResident)
	} else {
		r.t.Logf("%d MB", mb)
	}
}

// dial connects with a small buffer and performs the handshake.
func (r *resident) dial() *client {
	r.t.Helper()
	nc, err := net.Dial("unix", r.socket)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { nc.Close() })
	c := &client{t: r.t, nc: nc, in: wire.NewReader(nc, 512)}
	if c.params, c.greet, err = protocol.ClientHandshake(c.in, nc, storepath.DefaultDir); err == nil {
		err = c.messages()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}
