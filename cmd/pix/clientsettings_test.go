package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pix/daemon"
	"pix/server"
	"pix/storepath"
)

// A settingsDaemon is a daemon in this process. Its store in a directory substitutes from a cache.
type settingsDaemon struct {
	t      *testing.T
	socket string
}

// startSettingsDaemon starts a daemon with a configuration.
func startSettingsDaemon(t *testing.T, config string, trusted bool) *settingsDaemon {
	t.Helper()
	dir := t.TempDir()
	env := map[string]string{"NIX_CONF_DIR": dir, "NIX_USER_CONF_FILES": dir + "/none", "NIX_CONFIG": config}
	a := newApp(nil, nil, io.Discard, func(name string) string { return env[name] })
	s, err := a.openWith(t.Context(), openOptions{uri: dir + "/store", access: toCreate, serving: servingSockets})
	if err != nil {
		t.Fatal(err)
	}
	socketDir, err := os.MkdirTemp("", "px")
	if err != nil {
		t.Fatal(err)
	}
	d := &settingsDaemon{t, filepath.Join(socketDir, "s")}
	l, err := server.ListenUnix(d.socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &server.Server{Store: s, Options: &server.Options{Trusted: trusted}}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(context.WithoutCancel(t.Context()), l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		srv.Shutdown(ctx)
		<-ended
		s.Close()
		os.RemoveAll(socketDir)
	})
	return d
}

// ensure calls EnsurePath as a client with these settings, and returns the error and the time that it took.
func (d *settingsDaemon) ensure(path storepath.Path, overrides map[string]string) (error, time.Duration) {
	d.t.Helper()
	settings := daemon.DefaultSettings()
	settings.Overrides = overrides
	c, err := daemon.Dial(d.t.Context(), d.socket, &daemon.Options{Settings: settings})
	if err != nil {
		d.t.Fatal(err)
	}
	defer c.Close()
	start := time.Now()
	err = c.EnsurePath(d.t.Context(), path)
	return err, time.Since(start)
}

// makeCache creates a binary cache with one path in a new directory.
func makeCache(t *testing.T) (dir string, path storepath.Path) {
	t.Helper()
	dir = t.TempDir()
	var stdout, stderr strings.Builder
	env := map[string]string{"NIX_CONF_DIR": dir, "NIX_USER_CONF_FILES": dir + "/none"}
	if code := run([]string{"--store", "file://" + dir, "add-text", "text", "contents"}, nil, &stdout, &stderr, func(name string) string { return env[name] }); code != 0 {
		t.Fatal(stderr.String())
	}
	return dir, storepath.Path(strings.TrimSpace(stdout.String()))
}

// The netrc-file of a trusted client is used for its own calls only. The one of an untrusted client is ignored.
func TestClientNetrc(t *testing.T) {
	dir, path := makeCache(t)
	files := http.FileServer(http.Dir(dir))
	cache := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "secret" {
			w.WriteHeader(http.StatusForbidden) // as caches do that do not allow listing
			return
		}
		files.ServeHTTP(w, r)
	}))
	defer cache.Close()
	netrc := filepath.Join(t.TempDir(), "netrc")
	if err := os.WriteFile(netrc, []byte("machine 127.0.0.1 login me password secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	login := map[string]string{"netrc-file": netrc}
	config := "require-sigs = false\nnarinfo-cache-negative-ttl = 3600\nsubstituters = " + cache.URL
	if err, _ := startSettingsDaemon(t, config, false).ensure(path, login); err == nil {
		t.Error("the login of an untrusted client is used")
	}
	d := startSettingsDaemon(t, config, true)
	if err, _ := d.ensure(path, nil); err == nil {
		t.Error("the login of another client is used")
	}
	if err, _ := d.ensure(path, login); err != nil {
		t.Error(err)
	}
}

// The timeouts and numbers of attempts of a client are used for its calls. All clients may set connect-timeout, and
// only trusted clients the others.
func TestClientTimeouts(t *testing.T) {
	dir, path := makeCache(t)
	files := http.FileServer(http.Dir(dir))
	released := make(chan struct{})
	defer close(released)
	cache := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".narinfo") {
			w.Write([]byte("StorePath:"))
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
			case <-released:
			}
			return
		}
		files.ServeHTTP(w, r)
	}))
	defer cache.CloseClientConnections()
	d := startSettingsDaemon(t, "require-sigs = false\nsubstituters = "+cache.URL, true)
	err, took := d.ensure(path, map[string]string{"stalled-download-timeout": "1", "download-attempts": "1"})
	if err == nil || took > time.Minute {
		t.Errorf("error %v after %v, want one within a minute", err, took)
	}
}

// A client can set the TTL of negative answers to 0. The daemon then queries the cache again for a path that was
// missing.
func TestClientTTL(t *testing.T) {
	dir, path := makeCache(t)
	cache := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer cache.Close()
	narinfo := filepath.Join(dir, path.HashPart()+".narinfo")
	if err := os.Rename(narinfo, narinfo+"-"); err != nil {
		t.Fatal(err)
	}
	d := startSettingsDaemon(t, "require-sigs = false\nsubstituters = "+cache.URL, true)
	if err, _ := d.ensure(path, nil); err == nil {
		t.Error("EnsurePath succeeds for a path that is not in the cache")
	}
	if err := os.Rename(narinfo+"-", narinfo); err != nil {
		t.Fatal(err)
	}
	if err, _ := d.ensure(path, nil); err == nil {
		t.Error("the daemon did not cache the negative answer")
	}
	if err, _ := d.ensure(path, map[string]string{"narinfo-cache-negative-ttl": "0"}); err != nil {
		t.Error(err)
	}
}
