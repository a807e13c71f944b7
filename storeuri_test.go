package pix_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pix"
	"pix/activity"
	"pix/daemon"
	"pix/daemontest"
	"pix/localstore"
	"pix/store"
)

// A client of ssh-ng passes its remote-store to the daemon. Parameters of Nix are accepted, and unknown ones cause Nix's
// warning.
func TestStoreParameters(t *testing.T) {
	dir := t.TempDir()
	var warnings []string
	ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
		line, _ := activity.Line(e)
		warnings = append(warnings, line)
	}))
	const nix = "path-info-cache-size=0&trusted=true&priority=5&want-mass-query=1&system-features=kvm%20big-parallel"
	for _, c := range []struct{ uri, warns string }{
		{dir + "/a?" + nix + "&build-dir=/tmp&ignore-gc-delete-failure=true", ""},
		{"local?root=" + dir + "/a&store=/nix/store", ""},
		{"local://" + dir + "/a?system-features=kvm", ""},
		{"auto?root=" + dir + "/a", ""},
		{"?root=" + dir + "/a", ""},
		{dir + "/a?colour=red", "warning: unknown setting 'colour'"},
		{dir + "/a?read-only=no&read-only=maybe", ""}, // the first counts
		{dir + "/a?require-sigs=0", ""},
		{dir + "/a?rules=2.36", ""},
	} {
		warnings = nil
		s, err := pix.Open(ctx, c.uri, new(pix.Options))
		if err != nil {
			t.Errorf("%s: %v", c.uri, err)
			continue
		}
		if local, ok := store.As[*localstore.Store](s); !ok || local.Info().StoreDir != dir+"/a/nix/store" {
			t.Errorf("%s: %T", c.uri, s)
		}
		if rules := store.RulesOf(s); (rules == store.Rules236) != strings.Contains(c.uri, "rules=2.36") {
			t.Errorf("%s has the rules %s", c.uri, rules)
		}
		s.Close()
		if want := slices.DeleteFunc([]string{c.warns}, func(w string) bool { return w == "" }); !slices.Equal(warnings, want) {
			t.Errorf("%s: warnings %q, want %q", c.uri, warnings, want)
		}
	}

	s, err := pix.Open(ctx, dir+"/b?store=/gnu/store", new(pix.Options))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Dir() != "/gnu/store" {
		t.Errorf("the store directory is %s", s.Dir())
	}
	if _, err := pix.Open(ctx, dir+"/a?real=relative&store=/nix/store", new(pix.Options)); err == nil {
		t.Error("a relative directory is accepted")
	}
}

// The URIs of a daemon accept the same parameters, however they name the socket.
func TestDaemonParameters(t *testing.T) {
	d := daemontest.New(t, nil)
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "nix/var/nix/daemon-socket"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(d.Socket(), filepath.Join(dir, "nix/var/nix/daemon-socket/socket")); err != nil {
		t.Fatal(err)
	}
	const params = "max-connections=2&max-connection-age=60&store=/nix/store&system-features=kvm"
	for _, uri := range []string{
		"unix://" + d.Socket() + "?" + params + "&root=/elsewhere", // for direct access to files, which pix does not use
		"daemon?" + params + "&root=" + dir,
		"unix://?root=" + dir,
		"auto?root=" + dir,
		"auto?state=" + dir + "/nix/var/nix",
	} {
		s, err := pix.Open(t.Context(), uri, new(pix.Options))
		if err != nil {
			t.Errorf("%s: %v", uri, err)
			continue
		}
		if _, ok := store.As[*daemon.Pool](s); !ok {
			t.Errorf("%s: %T", uri, s)
		}
		if _, err := store.AllValidPaths(t.Context(), s); err != nil {
			t.Errorf("%s: %v", uri, err)
		}
		s.Close()
	}
}

// The socket of a daemon is in the state directory of the store that it serves, as in Nix 2.35.
func TestSocketPath(t *testing.T) {
	for _, c := range []struct {
		uri, want string
		opts      pix.Options
	}{
		{"local", "/nix/var/nix/daemon-socket/socket", pix.Options{}},
		{"auto", "/nix/var/nix/daemon-socket/socket", pix.Options{}},
		{"unix:///x", "/nix/var/nix/daemon-socket/socket", pix.Options{}},
		{"file:///cache", "/nix/var/nix/daemon-socket/socket", pix.Options{}},
		{"/dir", "/dir/nix/var/nix/daemon-socket/socket", pix.Options{}},
		{"local://%2Fdir", "/dir/nix/var/nix/daemon-socket/socket", pix.Options{}},
		{"local?root=/dir", "/dir/nix/var/nix/daemon-socket/socket", pix.Options{}},
		{"local?root=/dir&state=/state", "/state/daemon-socket/socket", pix.Options{}},
		{"daemon?root=/dir", "/dir/nix/var/nix/daemon-socket/socket", pix.Options{}},
		{"local", "/var/state/daemon-socket/socket", pix.Options{Local: &localstore.Options{StateDir: "/var/state"}}},
		{"/dir", "/dir/nix/var/nix/daemon-socket/socket", pix.Options{Local: &localstore.Options{StateDir: "/var/state"}}},
		{"/dir", "/socket", pix.Options{DaemonSocket: "/socket"}},
	} {
		if got, err := pix.SocketPath(c.uri, &c.opts); got != c.want || err != nil {
			t.Errorf("%s: %s, %v, want %s", c.uri, got, err, c.want)
		}
	}
	if _, err := pix.SocketPath("local?root=relative", new(pix.Options)); err == nil {
		t.Error("a relative root is accepted")
	}
}
