package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"pix/daemontest"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

const validPath storepath.Path = "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-valid"

// Verbs read a million paths on standard input with PIX_LONG=1, else 20,000. The memory is checked only for a
// million, because the system counts the memory of the test process, too.
func TestMillionPaths(t *testing.T) {
	n, long := 20_000, os.Getenv("PIX_LONG") == "1"
	if long {
		n = 1_000_000
	}
	s := memstore.New(nil)
	archive, info, err := fileArchive("x")
	if err != nil {
		t.Fatal(err)
	}
	info.Path = validPath
	if err := s.AddToStoreNAR(t.Context(), info, archive, &store.AddOptions{NoSignatures: true}); err != nil {
		t.Fatal(err)
	}
	d := daemontest.New(t, &daemontest.Options{Store: s})
	file := filepath.Join(t.TempDir(), "paths")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	for i := range n {
		fmt.Fprintf(w, "/nix/store/%032d-a-rather-usual-name-%d.0\n", i, i)
		if i%2 == 0 {
			fmt.Fprintln(w, validPath)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"is-valid", "--stdin"}, 1},
		{[]string{"is-valid", "--stdin", "--json"}, 1},
		{[]string{"path-info", "--stdin"}, 1},
		{[]string{"closure", "--stdin"}, 1},
		{[]string{"copy", "--stdin", "--to", "unix://" + d.Socket()}, 1},
	} {
		cmd := exec.Command("pix", append(c.args, "--store", "unix://"+d.Socket())...)
		if cmd.Stdin, err = os.Open(file); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		cmd.Run()
		took := time.Since(start)
		memory := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss >> 10
		t.Logf("%v: %v, %d MiB", c.args[:2], took, memory)
		if cmd.ProcessState.ExitCode() != c.code {
			t.Errorf("%v exits with %d, want %d", c.args, cmd.ProcessState.ExitCode(), c.code)
		}
		if limit := int64(64 + n*1000>>20); long && memory > limit { // a kilobyte for each path
			t.Errorf("%v takes %d MiB, more than %d", c.args, memory, limit)
		}
	}
}
