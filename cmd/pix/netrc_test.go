package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Passwords of caches come from the netrc file in the configuration directory, or from the one that nix.conf names. They are
// never printed.
func TestNetrcFile(t *testing.T) {
	var login string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		login = "-"
		if user, password, ok := r.BasicAuth(); ok {
			login = user + ":" + password
		}
		io.WriteString(w, "StoreDir: /nix/store\n")
	}))
	defer server.Close()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"conf/netrc": "machine 127.0.0.1 login me password secret-1", "other": "machine 127.0.0.1 login me password secret-2",
		"with/nix.conf": "netrc-file = " + dir + "/other\n", "bad/nix.conf": "nonsense", "bad/netrc": "machine 127.0.0.1 login me password secret-3",
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ conf, config, user, want string }{
		{"none", "", "", "-"},
		{"none", "", "me:secret@", "me:secret"},
		{"conf", "", "", "me:secret-1"},
		{"conf", "", "me@", "me:secret-1"},
		{"conf", "", "you@", "you:"},
		{"conf", "netrc-file = " + dir + "/other", "", "me:secret-2"},
		{"conf", "netrc-file = " + dir + "/nowhere", "", "-"},
		{"with", "", "", "me:secret-2"},
		{"bad", "", "", "me:secret-3"},
	} {
		env := map[string]string{"NIX_CONF_DIR": filepath.Join(dir, c.conf), "NIX_CONFIG": c.config, "NIX_USER_CONF_FILES": filepath.Join(dir, "none.conf")}
		var stdout, stderr bytes.Buffer
		uri := strings.Replace(server.URL, "://", "://"+c.user, 1)
		code := run([]string{"--store", uri, "daemon-info"}, nil, &stdout, &stderr, func(name string) string { return env[name] })
		if printed := stdout.String() + stderr.String(); code != 0 || login != c.want || strings.Contains(printed, "secret") {
			t.Errorf("%+v: sent %q, code %d, printed %q", c, login, code, printed)
		}
	}
}
