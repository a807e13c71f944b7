package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pix/daemontest"
	"pix/nixbase32"
)

// complete returns the completions of a command line, and as the last element the directive for the shell.
func complete(t *testing.T, env map[string]string, args ...string) []string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(append([]string{"__complete"}, args...), strings.NewReader(""), &stdout, &stderr, func(name string) string { return env[name] })
	if code != 0 || strings.Contains(stderr.String(), "pix:") {
		t.Errorf("exit code %d, %s", code, stderr.Bytes())
	}
	return strings.Split(strings.TrimSuffix(stdout.String(), "\n"), "\n")
}

// A daemon that does not answer does not block the shell, before or after the handshake.
func TestCompleteTimeout(t *testing.T) {
	stuck, err := net.Listen("unix", filepath.Join(t.TempDir(), "stuck"))
	if err != nil {
		t.Fatal(err)
	}
	defer stuck.Close()
	for name, socket := range map[string]string{
		"before the handshake": stuck.Addr().String(),
		"after the handshake":  daemontest.New(t, &daemontest.Options{Faults: daemontest.Faults{Delay: time.Minute}}).Socket(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			dir := filepath.Join(t.TempDir(), "store") // the machine may have /nix/store
			got := complete(t, map[string]string{"NIX_DAEMON_SOCKET_PATH": socket, "NIX_STORE_DIR": dir}, "path-info", dir+"/")
			if !slices.Equal(got, []string{":4"}) {
				t.Errorf("got %q", got)
			}
			if took := time.Since(start); took > time.Minute/2 { // the daemon answers after a minute
				t.Errorf("completion took %v", took)
			}
		})
	}
}

// If very many paths match, only their common prefixes are completed, until few are left.
func TestCompleteManyPaths(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	digest := make([]byte, 20)
	for i := range 2 * maxCompletions {
		digest[19], digest[18] = byte(i), byte(i>>8)
		name := fmt.Sprintf("%s-%d", nixbase32.EncodeToString(digest), i)
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	paths := func(word string) []string { return complete(t, nil, "--store-dir", dir, "path-info", word) }
	prefix := dir + "/"
	got := paths(prefix)
	if len(got) != 33 || got[0] != prefix+"0" || got[31] != prefix+"z" || got[32] != ":6" {
		t.Errorf("got %q", got)
	}
	got = paths(prefix + "0")
	if len(got) < 50 || !strings.HasPrefix(got[0], prefix+"00000") || got[len(got)-1] != ":4" {
		t.Errorf("got %q", got)
	}
}

func TestPrefixes(t *testing.T) {
	for _, test := range []struct {
		words []string
		n     int
		want  []string
	}{
		{[]string{"ab", "ac", "ba"}, 0, []string{"a", "b"}},
		{[]string{"abcde", "abcxy"}, 1, []string{"abcd", "abcx"}},
		{[]string{"ab", "abc"}, 0, []string{"ab", "abc"}},
	} {
		if got := prefixes(test.words, test.n); !slices.Equal(got, test.want) {
			t.Errorf("prefixes(%q, %d) = %q, want %q", test.words, test.n, got, test.want)
		}
	}
}

// Each flag with a value has a completer, or its value is a file.
func TestFlagValues(t *testing.T) {
	files := []string{"trace", "key-file", "socket", "out-link", "profile", "state"}
	root := newRoot(newApp(nil, io.Discard, nil, nil))
	for _, cmd := range append(allVerbs(root), root) {
		for _, f := range append(flagHelps(cmd.LocalFlags().FlagUsages()), flagHelps(cmd.PersistentFlags().FlagUsages())...) {
			_, name, _ := strings.Cut(f.Name, "--")
			if _, ok := cmd.GetFlagCompletionFunc(name); !ok && f.Value != "" && !slices.Contains(files, name) {
				t.Errorf("pix %s --%s: it has no completer; see completeFlag", cmd.Name(), name)
			}
			if f.Value == "string" || f.Value == "int" {
				t.Errorf("pix %s --%s: its value has no name; put it in backquotes in the usage", cmd.Name(), name)
			}
		}
	}
}
