package nixconf_test

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pix/internal/realnix"
	"pix/nixconf"
)

// write writes files into a directory of the test and returns it.
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

// environment returns a getenv of these variables alone.
func environment(env map[string]string) func(string) string {
	return func(name string) string { return env[name] }
}

func TestLoad(t *testing.T) {
	dir := write(t, map[string]string{
		"etc/nix.conf": "keep-outputs = true # a comment\n" +
			"include sub/more.conf\n!include nowhere\n!include sub\n" +
			"foo-bar = 1\nextra-trusted-users = a\tb\ntrusted-users = c\nextra-trusted-users =  d   e\r\n" +
			"extra-keep-outputs = false\nsandbox = true\nextra-trusted-substituters = file:///t\nextra-substituters = file:///a\nextra-binary-caches = file:///b",
		"etc/sub/more.conf":      "keep-derivations = no\ninclude again.conf\n",
		"etc/sub/again.conf":     "build-users-group = builders\nfoo-bar = 2\n",
		"home/nix/nix.conf":      "allowed-users = home\n",
		"xdg/nix/nix.conf":       "allowed-users = xdg\nauto-optimise-store = 1\n",
		"user.conf":              "allowed-users =\n",
		"overridden/nix/nonsens": "",
	})
	env := map[string]string{
		"NIX_CONF_DIR":    dir + "/etc",
		"XDG_CONFIG_HOME": dir + "/home",
		"XDG_CONFIG_DIRS": dir + "/nowhere:" + dir + "/xdg",
		"NIX_CONFIG":      "require-sigs = 0\nextra-binary-cache-public-keys = k:x",
	}
	want := nixconf.Default()
	want.TrustedUsers = []string{"c", "d", "e"}
	want.AllowedUsers = []string{"home"}
	want.BuildUsersGroup = "builders"
	want.TrustedPublicKeys = append(want.TrustedPublicKeys, "k:x")
	want.TrustedSubstituters, want.Substituters = []string{"file:///t"}, []string{"file:///a", "file:///b"}
	want.RequireSigs, want.KeepOutputs, want.KeepDerivations, want.AutoOptimiseStore = false, true, false, true
	want.Unknown = []string{"extra-keep-outputs", "foo-bar", "sandbox"}
	got, err := nixconf.Load(environment(env))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want\n%+v", got, err, want)
	}

	env["NIX_USER_CONF_FILES"] = dir + "/user.conf:" + dir + "/xdg/nix/nix.conf"
	got, err = nixconf.Load(environment(env))
	if err != nil || len(got.AllowedUsers) != 0 || !got.AutoOptimiseStore {
		t.Errorf("%+v, %v", got, err)
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

// mistakes are texts that are refused, by Nix and by us, and a word of why.
var mistakes = map[string]string{
	"a":                                 "syntax error",
	"a=b":                               "syntax error",
	"= b":                               "syntax error",
	"include":                           "syntax error",
	"include a b":                       "syntax error",
	"include = 3":                       "syntax error",
	"include /nowhere/at/all":           "not there",
	"keep-outputs = maybe":              "has invalid value 'maybe'",
	"keep-outputs =":                    "has invalid value ''",
	"min-free = much":                   "setting 'min-free' has invalid value 'much'",
	"max-free = 1P":                     "setting 'max-free' has invalid value '1P'",
	"gc-reserved-space =":               "setting 'gc-reserved-space' has invalid value ''",
	"min-free = -1":                     "setting 'min-free' has invalid value '-1'",
	"# x\n\nrequire-sigs = on # really": "has invalid value 'on'",
}

func TestMistakes(t *testing.T) {
	for text, why := range mistakes {
		_, err := nixconf.Load(environment(map[string]string{"NIX_CONF_DIR": "/nowhere", "NIX_CONFIG": text}))
		var syntax *nixconf.SyntaxError
		if !errors.As(err, &syntax) || !strings.Contains(err.Error(), why) || syntax.Line != 1+strings.Count(text, "\n") {
			t.Errorf("%q: %v, want %q", text, err, why)
		}
	}
}

func TestIncludeWithoutEnd(t *testing.T) {
	dir := write(t, map[string]string{"nix.conf": "include nix.conf\n"})
	if _, err := nixconf.Load(environment(map[string]string{"NIX_CONF_DIR": dir})); err == nil || !strings.Contains(err.Error(), "include each other") {
		t.Errorf("%v", err)
	}
}

// nixsOwn is the substituter that Nix has by default.
const nixsOwn = "https://cache.nixos.org/"

// Nix reads the same settings out of the same texts, and refuses the same.
func TestAgainstNix(t *testing.T) {
	d := realnix.Start(t, realnix.Get(t, "sid"), nil)
	show := func(text, name string) (string, error) {
		cmd := d.Command(t.Context(), "nix", "--extra-experimental-features", "nix-command", "config", "show", name)
		cmd.Env = append(cmd.Env, "NIX_CONF_DIR=/tmp", "NIX_CONFIG="+text)
		out, err := cmd.Output()
		return strings.TrimSuffix(string(out), "\n"), err
	}
	for text := range mistakes {
		if out, err := show(text, "trusted-users"); err == nil {
			t.Errorf("Nix takes %q: %s", text, out)
		}
	}
	if err := os.WriteFile(d.HostPath("/tmp/included"), []byte("extra-trusted-users = i\nkeep-outputs = yes"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"",
		"trusted-users = a # b\nextra-trusted-users = c\n\nkeep-derivations = 0",
		"extra-trusted-users = a\ntrusted-users = b\ntrusted-users = c = d",
		"trusted-users = a#b\r\nkeep-outputs = 1\r\nextra-keep-outputs = 0\nnonsense = x",
		"include /tmp/included\nextra-trusted-users = j\n!include /tmp/nowhere\ninclude /tmp",
		"min-free = 5g\nmax-free = 1T\nmin-free-check-interval = 0\ngc-reserved-space = 16k",
		"netrc-file = /x/netrc # c\nfsync-metadata = false\nfsync-store-paths = true\nuse-sqlite-wal = 0\nstore = unix:///x\nextra-min-free = 3",
		"substituters = file:///a https://b/?priority=3\nextra-substituters = file:///c\nbuild-use-substitutes = false\nfallback = 1",
		"binary-caches =\ntrusted-binary-caches = file:///a\nextra-trusted-substituters = http://b/\nbuild-fallback = 0\nsubstitute = yes",
		"trusted-users =\ngc-keep-outputs = true\nextra-binary-cache-public-keys = a:b c:d\nextra-build-users-group = x",
	} {
		// What is included is in another place for us.
		ours := strings.ReplaceAll(text, "/tmp", d.HostPath("/tmp"))
		c, err := nixconf.Load(environment(map[string]string{"NIX_CONF_DIR": "/nowhere", "NIX_CONFIG": ours}))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{
			"trusted-users":       strings.Join(c.TrustedUsers, " "),
			"allowed-users":       strings.Join(c.AllowedUsers, " "),
			"trusted-public-keys": strings.Join(c.TrustedPublicKeys, " "),
			"build-users-group":   c.BuildUsersGroup,
			"require-sigs":        fmt.Sprint(c.RequireSigs),
			"substitute":          fmt.Sprint(c.Substitute),
			"fallback":            fmt.Sprint(c.Fallback),
			"substituters":        strings.Join(c.Substituters, " "),
			"keep-outputs":        fmt.Sprint(c.KeepOutputs),
			"keep-derivations":    fmt.Sprint(c.KeepDerivations),
			"auto-optimise-store": fmt.Sprint(c.AutoOptimiseStore),
			"min-free":            fmt.Sprint(c.MinFree),
			"max-free":            fmt.Sprint(c.MaxFree),
			"gc-reserved-space":   fmt.Sprint(c.GCReservedSpace),
			"fsync-metadata":      fmt.Sprint(c.FsyncMetadata),
			"fsync-store-paths":   fmt.Sprint(c.FsyncStorePaths),
			"use-sqlite-wal":      fmt.Sprint(c.UseSQLiteWAL),
			"netrc-file":          cmp.Or(c.NetrcFile, "/tmp/netrc"),
			"store":               cmp.Or(c.Store, "daemon"), // what the variable says there

			"min-free-check-interval": fmt.Sprint(c.MinFreeCheckInterval),
		} {
			want, err := show(text, name)
			if name == "substituters" && len(c.Substituters) == 0 && !strings.Contains(text, "binary-caches") {
				value = nixsOwn // which nothing here asks unless it is told to
			}
			if err != nil || value != want {
				t.Errorf("%q: %s is %q, Nix says %q, %v", text, name, value, want, err)
			}
		}
	}
}
