package main

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A servedCache is a running 'pix serve'.
type servedCache struct {
	cmd       *exec.Cmd
	addresses []string
	lines     chan string // what it prints after that
}

// startServe runs 'pix serve' with these arguments, and waits until it listens on n addresses.
func startServe(t *testing.T, n int, args ...string) *servedCache {
	t.Helper()
	s := &servedCache{cmd: exec.Command("pix", append([]string{"serve"}, args...)...), lines: make(chan string, 1000)}
	s.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "NIX_CONF_DIR="+t.TempDir(), "LISTEN_FDS=")
	stderr, err := s.cmd.StderrPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill() })
	lines := bufio.NewScanner(stderr)
	var printed strings.Builder
	for len(s.addresses) < n {
		if !lines.Scan() {
			t.Fatalf("%v ended: %v\n%s", args, s.cmd.Wait(), &printed)
		}
		printed.WriteString(lines.Text() + "\n")
		if address, ok := strings.CutPrefix(lines.Text(), "pix: listening on "); ok {
			s.addresses = append(s.addresses, address)
		}
	}
	go func() {
		defer close(s.lines)
		for lines.Scan() {
			s.lines <- lines.Text()
		}
	}()
	return s
}

// stop sends SIGTERM, waits for the end, and returns the remaining lines.
func (s *servedCache) stop(t *testing.T) string {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for line := range s.lines {
		lines.WriteString(line + "\n")
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, &lines)
	}
	return lines.String()
}

// pixOutput runs a command of pix, and returns its output.
func pixOutput(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("pix", args...)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "NIX_CONF_DIR="+t.TempDir())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, &stderr)
	}
	return strings.TrimSpace(string(out))
}

// A store is served with a key, tokens and metrics, and pix copies from it.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	file := func(name, contents string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(contents), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	const token = "0123456789abcdef"
	key := file("key", pixOutput(t, "key-generate", "--key-name", "test-1"))
	store := filepath.Join(dir, "store")
	path := pixOutput(t, "--store", store, "add-text", "hello", "hello world")
	large := pixOutput(t, "--store", store, "add", file("large", strings.Repeat("0123456789abcdef", 100_000)))
	s := startServe(t, 2, "--store", store, "--listen", "127.0.0.1:0", "--key-file", key,
		"--read-token-file", file("tokens", token+"\n"), "--compressed-dir", filepath.Join(dir, "compressed"), "--metrics", "127.0.0.1:0", "--log-requests")
	url := "http://x:" + token + "@" + s.addresses[0]
	if out := pixOutput(t, "path-info", "--sigs", "--store", url, path); !strings.Contains(out, "test-1:") {
		t.Errorf("the path is not signed: %s", out)
	}
	copied := filepath.Join(dir, "copied")
	pixOutput(t, "copy", "--from", url, "--to", copied, path, large)
	pixOutput(t, "verify-store", "--check-contents", "--store", copied)
	resp, err := http.Get("http://" + s.addresses[0] + "/nix-cache-info")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token the status is %d", resp.StatusCode)
	}
	if resp, err = http.Get("http://" + s.addresses[1] + "/metrics"); err != nil {
		t.Fatal(err)
	}
	metrics, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || !strings.Contains(string(metrics), `pix_cache_requests_total{file="archive",method="GET",status="200"} 2`) {
		t.Errorf("%v\n%s", err, metrics)
	}
	if lines := s.stop(t); strings.Contains(lines, token) || !strings.Contains(lines, "GET \"/nix-cache-info\": 401") || !strings.Contains(lines, "shutting down") {
		t.Errorf("it printed %s", lines)
	}
}
