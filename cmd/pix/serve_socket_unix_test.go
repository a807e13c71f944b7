//go:build unix

package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Without --listen, the server takes the sockets that systemd passes to it.
func TestServeInheritedSocket(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	path := pixOutput(t, "--store", store, "add-text", "hello", "hello world")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec pix serve --store "$1"`, "sh", store)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "NIX_CONF_DIR="+t.TempDir(), "LISTEN_FDS=1")
	cmd.ExtraFiles = []*os.File{f}
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	line, err := bufio.NewReader(stderr).ReadString('\n')
	if err != nil || !strings.Contains(line, "listening on "+l.Addr().String()) {
		t.Fatalf("%q, %v", line, err)
	}
	go io.Copy(io.Discard, stderr)
	resp, err := http.Get("http://" + l.Addr().String() + "/" + filepath.Base(path)[:32] + ".narinfo")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the status is %s", resp.Status)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
