package pix_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pix"
	"pix/internal/testenv"
	"pix/localstore"
	"pix/store"
)

func TestMain(m *testing.M) {
	if err := testenv.ForgetMachine(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// Options that are not set come from the environment, whether there are options or not. A field that is set stays,
// and NoEnvironment ignores the environment.
func TestOptionsWithEnvironment(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("NIX_DAEMON_SOCKET_PATH", dir+"/none")
	t.Setenv("NIX_STORE_DIR", "/elsewhere/store")
	t.Setenv("XDG_DATA_HOME", dir+"/data")
	t.Setenv("NIX_STATE_DIR", dir+"/state")
	own := &localstore.Options{LogDir: dir + "/log"}
	for _, c := range []struct {
		opts *pix.Options
		want string
	}{
		{nil, "/elsewhere/store"},
		{new(pix.Options), "/elsewhere/store"},
		{&pix.Options{Local: own}, "/elsewhere/store"},
		{&pix.Options{StoreDir: "/own/store"}, "/own/store"},
		{&pix.Options{NoEnvironment: true}, "/nix/store"},
	} {
		s, err := pix.Open(t.Context(), filepath.Join(dir, "root"), c.opts)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Dir(); string(got) != c.want {
			t.Errorf("%+v: the store directory is %s, want %s", c.opts, got, c.want)
		}
		s.Close()
	}
	if own.StateDir != "" {
		t.Error("Open changed the options of the caller")
	}
	for _, opts := range []*pix.Options{nil, new(pix.Options), {Local: own}} {
		if got, err := pix.SocketPath("local", opts); got != dir+"/none" || err != nil {
			t.Errorf("SocketPath: %s, %v", got, err)
		}
		if got, _ := pix.Resolve("auto", opts); got != "local" {
			t.Errorf("Resolve: %s", got)
		}
	}
	if got, err := pix.SocketPath("local", &pix.Options{NoEnvironment: true}); got != "/nix/var/nix/daemon-socket/socket" || err != nil {
		t.Errorf("SocketPath without the environment: %s, %v", got, err)
	}
	s, err := pix.Open(t.Context(), "auto", new(pix.Options))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if local, ok := store.As[*localstore.Store](s); !ok || local.Info().StateDir != dir+"/state" {
		t.Errorf("auto is a %T", s)
	}
}
