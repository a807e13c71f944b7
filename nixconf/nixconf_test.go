package nixconf_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pix/nixconf"
)

// write writes files into a temporary directory and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// environment returns a getenv function with these variables.
func environment(env map[string]string) func(string) string {
	return func(name string) string { return env[name] }
}

// texts returns the texts of the given settings.
func texts(c *nixconf.Conf, names ...string) string {
	var b strings.Builder
	for _, name := range names {
		v := c.Get(name)
		fmt.Fprintf(&b, "%s = %s (%s)\n", name, v.Text, v.Origin)
	}
	return b.String()
}

func TestLoad(t *testing.T) {
	dir := write(t, map[string]string{
		"etc/nix.conf": "keep-outputs = true # a comment\n" +
			"include sub/more.conf\n!include nowhere\n!include sub\n" +
			"foo-bar = 1\nextra-trusted-users = a\tb\ntrusted-users = c\nextra-trusted-users =  d   e\r\n" +
			"extra-keep-outputs = false\nsandbox = relaxed\nextra-substituters = file:///a\nextra-binary-caches = file:///b",
		"etc/sub/more.conf":  "keep-derivations = no\ninclude again.conf\n",
		"etc/sub/again.conf": "build-users-group = builders\nfoo-bar = 2\n",
		"home/nix/nix.conf":  "allowed-users = home\n",
		"xdg/nix/nix.conf":   "allowed-users = xdg\nauto-optimise-store = 1\n",
		"user.conf":          "allowed-users =\n",
	})
	env := map[string]string{
		"NIX_CONF_DIR":      dir + "/etc",
		"XDG_CONFIG_HOME":   dir + "/home",
		"XDG_CONFIG_DIRS":   dir + "/nowhere:" + dir + "/xdg",
		"NIX_CONFIG":        "require-sigs = 0\nextra-binary-cache-public-keys = k:x\nssl-cert-file = /b",
		"NIX_SSL_CERT_FILE": "/a",
		"NIX_REMOTE":        "daemon",
	}
	c, err := nixconf.Load(t.Context(), environment(env))
	if err != nil {
		t.Fatal(err)
	}
	got := texts(c, "keep-outputs", "keep-derivations", "trusted-users", "allowed-users", "auto-optimise-store", "build-users-group",
		"sandbox", "substituters", "require-sigs", "ssl-cert-file", "store", "netrc-file", "max-jobs")
	want := strings.ReplaceAll(`keep-outputs = true (DIR/etc/nix.conf:1)
keep-derivations = false (DIR/etc/sub/more.conf:1)
trusted-users = c d e (DIR/etc/nix.conf:8)
allowed-users = home (DIR/home/nix/nix.conf:1)
auto-optimise-store = true (DIR/xdg/nix/nix.conf:2)
build-users-group = builders (DIR/etc/sub/again.conf:1)
sandbox = relaxed (DIR/etc/nix.conf:10)
substituters = file:///a file:///b (DIR/etc/nix.conf:12)
require-sigs = false (NIX_CONFIG:1)
ssl-cert-file = /b (NIX_CONFIG:3)
store = daemon (NIX_REMOTE)
netrc-file = DIR/etc/netrc (default)
max-jobs = 1 (default)
`, "DIR", dir)
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := strings.Join(c.Warnings(), ", "); got != "unknown setting 'extra-keep-outputs', unknown setting 'foo-bar'" {
		t.Error(got)
	}

	env["NIX_USER_CONF_FILES"] = dir + "/user.conf:" + dir + "/xdg/nix/nix.conf"
	c, err = nixconf.Load(t.Context(), environment(env))
	if err != nil || c.Get("allowed-users").Text != "" || c.Get("auto-optimise-store").Text != "true" {
		t.Errorf("%s, %v", texts(c, "allowed-users", "auto-optimise-store"), err)
	}
}

func TestFiles(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want string
	}{
		{nil, "/etc/nix/nix.conf /etc/xdg/nix/nix.conf"},
		{map[string]string{"HOME": "/home/me"}, "/etc/nix/nix.conf /etc/xdg/nix/nix.conf /home/me/.config/nix/nix.conf"},
		{map[string]string{"HOME": "/home/me", "NIX_CONFIG_HOME": "/c", "NIX_CONF_DIR": "/d"}, "/d/nix.conf /etc/xdg/nix/nix.conf /c/nix.conf"},
		{map[string]string{"NIX_USER_CONF_FILES": "/a:/b"}, "/etc/nix/nix.conf /b /a"},
	} {
		if got := strings.Join(nixconf.Files(environment(c.env)), " "); got != c.want {
			t.Errorf("%v: %s, want %s", c.env, got, c.want)
		}
	}
}

// An invalid value is an error only for readers of the setting.
func TestInvalidValue(t *testing.T) {
	c, err := nixconf.Load(t.Context(), environment(map[string]string{"NIX_CONF_DIR": "/nowhere", "NIX_CONFIG": "keep-outputs = maybe\nmin-free = 1\ncores = x"}))
	if err != nil {
		t.Fatal(err)
	}
	r := c.Reader()
	if n := r.Uint("min-free"); n != 1 || r.Err() != nil {
		t.Errorf("%d, %v", n, r.Err())
	}
	const want = "NIX_CONFIG:1: Boolean setting 'keep-outputs' has invalid value 'maybe'"
	if keep := r.Bool("keep-outputs"); keep || r.Err() == nil || r.Err().Error() != want {
		t.Errorf("%v, %v", keep, r.Err())
	}
	if got := fmt.Sprint(c.Invalid()); got != "[cores keep-outputs]" {
		t.Error(got)
	}
	// A valid value overrides it.
	if err := c.Set(nixconf.Assignment{Name: "keep-outputs", Value: "yes"}); err != nil {
		t.Error(err)
	}
	if r := c.Reader(); !r.Bool("keep-outputs") || r.Err() != nil {
		t.Error(r.Err())
	}
	if err := c.Set(nixconf.Assignment{Name: "keep-outputs", Value: "no!", File: "--option"}); err == nil || c.Get("keep-outputs").Text != "true" {
		t.Errorf("%v; %s", err, texts(c, "keep-outputs"))
	}
}

func TestClone(t *testing.T) {
	c := nixconf.Default()
	c.Set(nixconf.Assignment{Name: "cores", Value: "1"})
	clone := c.Clone()
	clone.Set(nixconf.Assignment{Name: "cores", Value: "2"})
	clone.Set(nixconf.Assignment{Name: "foo", Value: "2"})
	if c.Get("cores").Text != "1" || clone.Get("cores").Text != "2" || len(c.Warnings()) != 0 || len(clone.Warnings()) != 1 {
		t.Errorf("%v %v", c, clone)
	}
}

func TestReader(t *testing.T) {
	c := nixconf.Default()
	for name, value := range map[string]string{
		"connect-timeout": "2", "timeout": "-3", "stalled-download-timeout": "18446744073709551615", "filetransfer-retry-delay": "5",
		"log-lines": "18446744073709551615", "hashed-mirrors": " a  b ",
	} {
		if err := c.Set(nixconf.Assignment{Name: name, Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	r := c.Reader()
	if d := r.Seconds("connect-timeout"); d != 2*time.Second {
		t.Error(d)
	}
	if d := r.Seconds("stalled-download-timeout"); d < 200*365*24*time.Hour {
		t.Error(d)
	}
	if d := r.Milliseconds("filetransfer-retry-delay"); d != 5*time.Millisecond {
		t.Error(d)
	}
	if n := r.Uint("timeout"); n != 0 {
		t.Error(n)
	}
	if n := r.Int("log-lines"); n != math.MaxInt {
		t.Error(n)
	}
	if w := r.Words("hashed-mirrors"); !slices.Equal(w, []string{"a", "b"}) {
		t.Error(w)
	}
}

// Every row of the table is complete, and every default is canonical.
func TestTable(t *testing.T) {
	all := nixconf.Settings()
	if len(all) != 135 {
		t.Errorf("%d settings", len(all))
	}
	names := make(map[string]bool)
	for _, s := range all {
		for _, name := range append(s.Aliases, s.Name) {
			if names[name] {
				t.Errorf("two settings have the name %s", name)
			}
			names[name] = true
		}
		if (s.By == "") == (s.Reason == "") || s.Type.String() == "" {
			t.Errorf("%s: By is %q, and Reason is %q", s.Name, s.By, s.Reason)
		}
		if nixconf.Find(s.Name) == nil {
			t.Errorf("%s is not found", s.Name)
		}
		var c nixconf.Conf
		if s.Feature != "" {
			c.Set(nixconf.Assignment{Name: "experimental-features", Value: s.Feature})
		}
		if err := c.Set(nixconf.Assignment{Name: s.Name, Value: s.Default}); err != nil || c.Get(s.Name).Text != s.Default {
			t.Errorf("%s: the default is %q, %v", s.Name, c.Get(s.Name).Text, err)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]uint64{"0": 0, "17": 17, "1K": 1024, "3m": 3 << 20, "10G": 10 << 30, "2T": 2 << 40, "18446744073709551615": math.MaxUint64} {
		if got, err := nixconf.ParseSize(text); err != nil || got != want {
			t.Errorf("%q = %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "K", "-1", "1.5G", "1KB", "99999999999T", "x"} {
		if n, err := nixconf.ParseSize(text); err == nil {
			t.Errorf("%q = %d", text, n)
		}
	}
}

// wrongLines are texts that Nix and pix reject, with a part of the error.
var wrongLines = map[string]string{
	"a":                       "syntax error",
	"a=b":                     "syntax error",
	"= b":                     "syntax error",
	"include":                 "syntax error",
	"include a b":             "syntax error",
	"include = 3":             "syntax error",
	"cores = 1\nx":            "syntax error",
	"include /nowhere/at/all": "does not exist",
}

func TestWrongLines(t *testing.T) {
	for text, why := range wrongLines {
		_, err := nixconf.Load(t.Context(), environment(map[string]string{"NIX_CONF_DIR": "/nowhere", "NIX_CONFIG": text}))
		var syntax *nixconf.SyntaxError
		if !errors.As(err, &syntax) || !strings.Contains(err.Error(), why) || syntax.Line != 1+strings.Count(text, "\n") {
			t.Errorf("%q: %v, want %q", text, err, why)
		}
	}
}

func TestEndlessInclude(t *testing.T) {
	dir := write(t, map[string]string{"nix.conf": "include nix.conf\n"})
	if _, err := nixconf.Load(t.Context(), environment(map[string]string{"NIX_CONF_DIR": dir})); err == nil || !strings.Contains(err.Error(), "nested more than") {
		t.Errorf("%v", err)
	}
}
