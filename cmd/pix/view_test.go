package main

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// The page is served to the address that 'pix view --no-open' prints, until an interrupt.
func TestView(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	path := pixOutput(t, "--store", dir, "add-text", "hello", "hello world")
	cmd := exec.Command("pix", "view", "--store", dir, "--no-open", path)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "NIX_CONF_DIR="+t.TempDir())
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() {
		t.Fatalf("it ended: %v", cmd.Wait())
	}
	origin, token, ok := strings.Cut(lines.Text(), "/#token=")
	if !ok || !strings.HasPrefix(origin, "http://127.0.0.1:") {
		t.Fatalf("it printed %s", lines.Text())
	}
	req, err := http.NewRequestWithContext(t.Context(), "POST", origin+"/api/session", strings.NewReader(`{"token":"`+token+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", origin)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the token was refused: %d %s", resp.StatusCode, body)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// The page is served on a TCP address: a browser cannot open the path of a Unix socket.
func TestViewListen(t *testing.T) {
	for listen, valid := range map[string]bool{
		"127.0.0.1:0": true, "localhost:8080": true, ":8080": true, "[::1]:0": true,
		"unix:8080": false, "unix:/run/pix.sock": false, "./a:8080": false, "8080": false, "": false,
	} {
		if err := (&viewOptions{listen: listen}).check(); (err == nil) != valid {
			t.Errorf("--listen %q: %v", listen, err)
		}
	}
}

// The browser gets a file that only the user can read, and no argument with the token.
func TestPageFile(t *testing.T) {
	const address = "http://127.0.0.1:1/#token=ABC&\"<"
	runtimeDir := t.TempDir()
	t.Setenv("TMPDIR", t.TempDir())
	for _, in := range []string{runtimeDir, "", "relative", filepath.Join(runtimeDir, "missing")} {
		f, err := newPageFile(in, address)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(f.name)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("the mode is %v, %v", info.Mode(), err)
		}
		parent, err := os.Stat(filepath.Dir(f.name))
		if err != nil || in != runtimeDir && parent.Mode().Perm() != 0o700 {
			t.Errorf("the mode of the directory is %v, %v", parent.Mode(), err)
		}
		text, err := os.ReadFile(f.name)
		if err != nil || !strings.Contains(string(text), `content="0; url=http://127.0.0.1:1/#token=ABC&amp;&#34;&lt;"`) {
			t.Errorf("%v\n%s", err, text)
		}
		f.remove()
		for _, left := range []string{runtimeDir, os.Getenv("TMPDIR")} {
			if files, err := os.ReadDir(left); err != nil || len(files) > 0 {
				t.Errorf("it left %v, %v", files, err)
			}
		}
	}
}

// Without a display, or a program for it, there is no browser.
func TestBrowserCommand(t *testing.T) {
	for _, test := range []struct {
		goos, environment string
		installed         []string
		want              string
	}{
		{"linux", "", []string{"xdg-open"}, ""},
		{"linux", "DISPLAY=:0", []string{"xdg-open"}, "xdg-open"},
		{"freebsd", "DISPLAY=:0", []string{"xdg-open"}, "xdg-open"},
		{"linux", "WAYLAND_DISPLAY=wayland-0", []string{"xdg-open"}, "xdg-open"},
		{"linux", "DISPLAY=:0", nil, ""},
		{"linux", "WSL_DISTRO_NAME=Debian", []string{"wslview", "xdg-open"}, "wslview"},
		{"linux", "WSL_DISTRO_NAME=Debian", []string{"xdg-open"}, "xdg-open"},
		{"darwin", "", []string{"open"}, "open"},
	} {
		name, value, _ := strings.Cut(test.environment, "=")
		getenv := func(asked string) string {
			if asked == name {
				return value
			}
			return ""
		}
		got := browserCommand(test.goos, getenv, func(program string) bool { return slices.Contains(test.installed, program) })
		if got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}
