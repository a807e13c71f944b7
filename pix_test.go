package pix_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix"
	"pix/binarycache"
	"pix/daemon"
	"pix/derivation"
	"pix/internal/realnix"
	"pix/localstore"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// The error of Open names the URI and the reason.
func TestOpenErrors(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none")
	for uri, want := range map[string]string{
		"local?root=relative":          "root is not absolute",
		"local?read-only=maybe":        "true or false",
		"/a?root=/b":                   "both a path and the parameter root",
		"/a?state=%zz":                 "invalid URL escape",
		"nonsense":                     "not a store URI",
		"s3://bucket":                  "the scheme s3:// is not supported by this program",
		"ssh://me:secret@h?a=b":        "the scheme ssh:// is not supported; use ssh-ng://HOST",
		"xyz://bucket":                 "the scheme xyz:// is unknown; expected",
		"unix://relative":              "not absolute",
		"unix:///a?max-connections=0":  "max-connections is \"0\"",
		"unix:///a?store=relative":     "the parameter store",
		"/a?require-sigs=2":            "true or false",
		"/a?rules=2.35":                "unknown rules \"2.35\"",
		"local://a":                    "not absolute",
		"local:///a?root=/b":           "both a path and the parameter root",
		"daemon?root=b":                "root is not absolute",
		"ssh-ng://host?compress=maybe": "true or false",
		"unix:///%zz":                  "invalid URL escape",
		"ssh-ng://":                    "the host name is empty",
		"ssh-ng://-oProxyCommand=evil": "starts with '-'",
	} {
		_, err := pix.Open(t.Context(), uri, &pix.Options{DaemonSocket: socket})
		var bad *pix.URIError
		if !errors.As(err, &bad) || bad.URI != uri || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", uri, err, want)
		}
	}
	for _, uri := range []string{"daemon", "unix://", "unix://" + socket} {
		_, err := pix.Open(t.Context(), uri, &pix.Options{DaemonSocket: socket})
		var dial *daemon.DialError
		if !errors.As(err, &dial) || dial.Addr != socket {
			t.Errorf("%q: %v, want a DialError", uri, err)
		}
	}
}

// Without a daemon and a store of this machine, auto opens a store in the data directory of the user.
func TestOpenAuto(t *testing.T) {
	dir := t.TempDir()
	opts := &pix.Options{
		DaemonSocket: filepath.Join(dir, "none"),
		Local:        &localstore.Options{StoreDir: filepath.Join(dir, "nix/store"), StateDir: filepath.Join(dir, "nix/var/nix"), LogDir: filepath.Join(dir, "nix/var/log/nix")},
	}
	checkResolve := func(want string) {
		t.Helper()
		for _, uri := range []string{"", "auto"} {
			if got, reason := pix.Resolve(uri, opts); got != want || reason == "" {
				t.Errorf("Resolve(%q) = %q, %q, want %q", uri, got, reason, want)
			}
		}
	}
	add := func(uri string, objectDir func(localstore.Info) string) {
		t.Helper()
		s, err := pix.Open(t.Context(), uri, opts)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		path, err := store.AddText(t.Context(), s, "hello.txt", "hello world", nil)
		if err != nil || path != "/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt" {
			t.Errorf("%q: %s, %v", uri, path, err)
		}
		local, ok := store.As[*localstore.Store](s)
		if !ok {
			t.Fatalf("%q: a %T", uri, s)
		}
		if text, err := os.ReadFile(filepath.Join(objectDir(local.Info()), path.Base())); string(text) != "hello world" || err != nil {
			t.Errorf("%q: %q, %v", uri, text, err)
		}
	}
	storeDir := func(i localstore.Info) string { return i.StoreDir }
	checkResolve("daemon")
	opts.DataDir = filepath.Join(dir, "data & more+")
	checkResolve("local?root=" + dir + "/data%20%26%20more+/pix")
	add("auto", func(localstore.Info) string { return filepath.Join(dir, "data & more+/pix/nix/store") })
	add(filepath.Join(dir, "root"), func(localstore.Info) string { return filepath.Join(dir, "root/nix/store") })
	add("local?root="+dir+"/another&real="+dir+"/elsewhere", func(localstore.Info) string { return filepath.Join(dir, "elsewhere") })
	add("local", storeDir)
	checkResolve("local")
	add("auto", func(localstore.Info) string { return filepath.Join(dir, "nix/store") })
	if err := os.WriteFile(opts.DaemonSocket, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	checkResolve("daemon")
}

// If the store directory and the state directory are set, auto means that store, even if it does not exist.
func TestResolveDirectories(t *testing.T) {
	dir := t.TempDir()
	opts := &pix.Options{
		DaemonSocket: filepath.Join(dir, "none"), DataDir: filepath.Join(dir, "data"),
		StoreDir: "/elsewhere", Local: &localstore.Options{StateDir: filepath.Join(dir, "state")},
	}
	if got, reason := pix.Resolve("auto", opts); got != "local" || !strings.Contains(reason, "the store directory and the state directory are set") {
		t.Errorf("with both directories: Resolve = %q, %q", got, reason)
	}
	opts.Local.StateDir = ""
	if got, reason := pix.Resolve("auto", opts); strings.Contains(reason, "are set") {
		t.Errorf("without a state directory: Resolve = %q, %q", got, reason)
	}
	if got, reason := pix.Resolve("/x", opts); got != "/x" || reason != "" {
		t.Errorf("Resolve(/x) = %q, %q", got, reason)
	}
}

// A read-only store is not created.
func TestOpenReadOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "nothing")
	_, err := pix.Open(t.Context(), dir+"?read-only=true", new(pix.Options))
	if !errors.As(err, new(*localstore.NoStoreError)) {
		t.Errorf("Open returned %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a read-only store was created: %v", err)
	}
}

// Open returns a pool of connections for each URI of the same daemon.
func TestRealOpen(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		for _, uri := range []string{"", "daemon", "unix://" + d.Socket} {
			opened, err := pix.Open(t.Context(), uri, &pix.Options{DaemonSocket: d.Socket})
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := store.As[*daemon.Pool](opened); !ok {
				t.Errorf("%q: a %T", uri, opened)
			}
			path, err := store.AddText(t.Context(), opened, "hello.txt", "hello world", nil)
			if err != nil || path != "/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt" {
				t.Errorf("%q: %s, %v", uri, path, err)
			}
			if err := opened.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// Without options, Open opens the same store as the command.
func TestOpenWithoutOptions(t *testing.T) {
	dir := t.TempDir()
	for name, value := range map[string]string{"NIX_DAEMON_SOCKET_PATH": "none", "NIX_STATE_DIR": "state", "XDG_DATA_HOME": "data"} {
		t.Setenv(name, filepath.Join(dir, value))
	}
	for _, name := range []string{"NIX_STORE_DIR", "NIX_LOG_DIR", "NIX_SSHOPTS"} {
		t.Setenv(name, "")
	}
	for _, uri := range []string{"", "auto"} {
		s, err := pix.Open(t.Context(), uri, nil)
		if err != nil {
			t.Fatal(err)
		}
		local, ok := store.As[*localstore.Store](s)
		if !ok || local.Info().StoreDir != filepath.Join(dir, "data/pix/nix/store") {
			t.Errorf("%q: %T", uri, s)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if got, _ := pix.Resolve(uri, nil); got != "local?root="+dir+"/data/pix" {
			t.Errorf("%q is %s", uri, got)
		}
	}
	t.Setenv("NIX_STORE_DIR", "relative")
	if _, err := pix.Open(t.Context(), "auto", nil); err == nil {
		t.Error("a relative store directory is accepted")
	}
}

func TestFromEnvironment(t *testing.T) {
	env := map[string]string{}
	options := func() *pix.Options {
		t.Helper()
		opts, err := pix.FromEnvironment(func(name string) string { return env[name] })
		if err != nil {
			t.Fatal(err)
		}
		return opts
	}
	if o := options(); o.StoreDir != "/nix/store" || o.DaemonSocket != "" || o.DataDir != "" || o.Local.StateDir != "" {
		t.Errorf("without variables: %+v", o)
	}
	env = map[string]string{"HOME": "/home/me", "XDG_DATA_HOME": "relative", "NIX_STATE_DIR": "/state", "NIX_SSHOPTS": "-p 23", "NIX_STORE_DIR": "/elsewhere"}
	o := options()
	if o.StoreDir != "/elsewhere" || o.DaemonSocket != "" || o.DataDir != "/home/me/.local/share" || o.Local.StateDir != "/state" || len(o.SSHOptions) != 2 {
		t.Errorf("options: %+v", o)
	}
	env["NIX_STORE_DIR"] = "/elsewhere/./"
	if o := options(); o.StoreDir != "/elsewhere" {
		t.Errorf("options: %+v", o)
	}
	env["XDG_DATA_HOME"], env["NIX_DAEMON_SOCKET_PATH"], env["NIX_LOG_DIR"] = "/data", "/socket", "/log"
	if o := options(); o.DaemonSocket != "/socket" || o.DataDir != "/data" || o.Local.LogDir != "/log" {
		t.Errorf("options: %+v", o)
	}
	for limit, want := range map[string]int64{"1": 1, "7K": 7 << 10, "512M": 512 << 20, "1G": 1 << 30, "2T": 2 << 40} {
		env["PIX_CLOSURE_LIMIT"] = limit
		if o := options(); o.ClosureLimits == nil || *o.ClosureLimits != (store.Limits{Bytes: want}) {
			t.Errorf("%s: %+v", limit, o.ClosureLimits)
		}
	}
	for name, value := range map[string]string{"NIX_STORE_DIR": "relative", "NIX_SSHOPTS": "'"} {
		if _, err := pix.FromEnvironment(func(n string) string { return map[string]string{name: value}[n] }); err == nil {
			t.Errorf("%s=%s is accepted", name, value)
		}
	}
}

// The limit for closures is a number of bytes. It applies to caches, and not to stores in a directory.
func TestClosureLimits(t *testing.T) {
	for _, bad := range []string{"0", "-1", "G", "1.5G", "1GB", "x", "9223372036854775808", "8388608T"} {
		if o, err := pix.FromEnvironment(func(name string) string { return map[string]string{"PIX_CLOSURE_LIMIT": bad}[name] }); err == nil {
			t.Errorf("%s is accepted: %+v", bad, o.ClosureLimits)
		}
	}
	limits := store.Limits{Bytes: 1 << 30}
	opts := &pix.Options{ClosureLimits: &limits}
	cache, err := pix.Open(t.Context(), "file://"+t.TempDir(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	if _, ok := store.As[*binarycache.Store](cache); !ok || store.LimitsOf(cache) != limits {
		t.Errorf("%T has %+v", cache, store.LimitsOf(cache))
	}
	local, err := pix.Open(t.Context(), t.TempDir(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	if got := store.LimitsOf(local); got != derivation.OwnLimits() {
		t.Errorf("a store in a directory has %+v", got)
	}
}

// A store in a directory substitutes missing paths from the substituters in the options. Substituters are not
// created.
func TestOpenSubstituters(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	cache, err := pix.Open(ctx, "file://"+dir+"/cache", new(pix.Options))
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	path, err := store.AddText(ctx, cache, "text", "a text", nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := pix.Open(ctx, dir+"/other", new(pix.Options))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	second, err := store.AddText(ctx, other, "second", "another text", nil)
	if err != nil {
		t.Fatal(err)
	}
	opts := &pix.Options{Substituters: []string{"file://" + dir + "/cache?trusted=true", dir + "/other?priority=5", dir + "/none"}}
	paths := []derivation.DerivedPath{derivation.Opaque{Path: path}, derivation.Opaque{Path: second}}
	for _, uri := range []string{dir + "/store", dir + "/store?read-only=true"} {
		s, err := pix.Open(ctx, uri, opts)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := store.As[*localstore.Store](s); !ok {
			t.Errorf("%s is a %T", uri, s)
		}
		if _, err := os.Stat(dir + "/none"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a substituter was created: %v", err)
		}
		if err := store.BuildPaths(ctx, s, paths, store.BuildNormal); err != nil {
			t.Errorf("%s: %v", uri, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Fixed outputs can be substituted from a store with another store directory.
func TestSubstituterOfOtherDirectory(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	uri := "file://" + dir + "/cache?store=/fnord/store&trusted=true"
	cache, err := pix.Open(ctx, uri, new(pix.Options))
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	there, err := store.Add(ctx, cache, "fixed", storepath.Flat, nixhash.SHA256, nil, strings.NewReader("contents"), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := pix.Open(ctx, dir+"/store", &pix.Options{Substituters: []string{uri}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	d := &derivation.Derivation{Name: "fixed", Dir: storepath.DefaultDir, Platform: "x", Builder: "/bin/sh"}
	d.Outputs.Set("out", derivation.FixedOutput(there.CA, ""))
	d.Env.Set("out", "")
	if err := d.FillOutputPaths(nil, nil); err != nil {
		t.Fatal(err)
	}
	drv, err := store.AddText(ctx, s, "fixed.drv", d.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	wanted := derivation.Built{Drv: derivation.Opaque{Path: drv}, Outputs: derivation.AllOutputs()}
	if err := store.BuildPaths(ctx, s, []derivation.DerivedPath{wanted}, store.BuildNormal); err != nil {
		t.Error(err)
	}
}
