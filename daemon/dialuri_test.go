package daemon_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/daemon"
	"pix/daemontest"
)

// Dial accepts the path of a socket, and the URI with which Nix names it.
func TestDialURI(t *testing.T) {
	socket := daemontest.New(t, nil).Socket()
	link := filepath.Join(filepath.Dir(socket), "a b%")
	if err := os.Symlink(socket, link); err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{socket, "unix://" + socket, "unix://" + strings.ReplaceAll(strings.ReplaceAll(link, "%", "%25"), " ", "%20")} {
		c, err := daemon.Dial(t.Context(), addr, nil)
		if err != nil {
			t.Errorf("%q: %v", addr, err)
			continue
		}
		c.Close()
	}
	for addr, want := range map[string]string{
		"unix://" + socket + "?root=/x": "parameters",
		"unix://socket":                 "is not absolute",
		"unix:///%zz":                   "invalid URL escape",
		"unix:///nowhere/socket":        "'/nowhere/socket'",
	} {
		_, err := daemon.Dial(t.Context(), addr, nil)
		if !errors.As(err, new(*daemon.DialError)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", addr, err, want)
		}
	}
}
