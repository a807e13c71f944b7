package nixconf_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pix/internal/realnix"
	"pix/nixconf"
)

// newer are settings that Nix 2.34 does not have.
var newer = []string{
	"build-hook-kill-timeout", "filetransfer-retry-delay", "filetransfer-retry-delay-rate-limited",
	"filetransfer-retry-jitter", "filetransfer-retry-max-delay", "http3",
}

// A shower runs a real Nix to print its configuration.
type shower struct{ *realnix.Daemon }

// show returns the configuration that Nix prints, and its standard error.
func (s shower) show(t *testing.T, text string) (map[string]string, string) {
	t.Helper()
	cmd := s.Command(t.Context(), "nix", "config", "show")
	cmd.Env = append(cmd.Env, "NIX_CONF_DIR=/tmp", "NIX_REMOTE=", "NIX_CONFIG="+text)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, stderr.String()
	}
	values := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " = ")
		if name != "" {
			values[name] = strings.TrimPrefix(value, " ") // Nix prints a space before maps
		}
	}
	return values, stderr.String()
}

// startShower starts a Nix whose /tmp is shared with pix.
func startShower(t *testing.T) shower {
	return shower{realnix.Start(t, realnix.Get(t, "sid"), nil)}
}

// command is the command that prints Nix's configuration.
const command = "extra-experimental-features = nix-command\n"

// load returns the configuration of pix for the same text. Included files have another path.
func (s shower) load(text string) (*nixconf.Conf, error) {
	return nixconf.Load(context.Background(), environment(map[string]string{"NIX_CONF_DIR": "/tmp", "NIX_CONFIG": strings.ReplaceAll(text, "include /tmp", "include "+s.HostPath("/tmp"))}))
}

// compare compares the values and warnings of pix and Nix for a text.
func (s shower) compare(t *testing.T, text string) {
	t.Helper()
	text = command + text
	want, stderr := s.show(t, text)
	c, err := s.load(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if want == nil {
		if invalid := c.Invalid(); len(invalid) == 0 || !strings.Contains(stderr, c.Get(invalid[0]).Err.(*nixconf.SyntaxError).Reason) {
			t.Errorf("Nix fails with %s; invalid in pix: %v; %q", stderr, invalid, text)
		}
		return
	}
	for _, name := range c.Invalid() {
		t.Errorf("%q: invalid only in pix: %v", text, c.Get(name).Err)
	}
	var warnings strings.Builder
	for _, w := range c.Warnings() {
		fmt.Fprintf(&warnings, "warning: %s\n", w)
	}
	if warnings.String() != stderr {
		t.Errorf("pix warns\n%s\nNix warns\n%s%q", &warnings, stderr, text)
	}
	for _, setting := range nixconf.Settings() {
		name := setting.Name
		value, ok := want[name]
		got := c.Get(name)
		isDefault := got.Origin.Source == nixconf.FromDefault
		switch {
		case slices.Contains(newer, name):
		case !ok && setting.Feature == "":
			t.Errorf("Nix does not print %s", name)
		case !ok:
		case isDefault && setting.Nix != "":
			if value != setting.Nix {
				t.Errorf("Nix's default for %s is %q; want %q", name, value, setting.Nix)
			}
		case slices.Contains([]string{"build-hook", "pure-eval"}, name): // depends on the version and the command
		case isDefault && slices.Contains([]string{"sandbox-paths", "ssl-cert-file"}, name): // depends on the root directory
		case got.Text != value:
			t.Errorf("%s is %q, Nix has %q; %q", name, got.Text, value, text)
		}
	}
	for name := range want {
		if nixconf.Find(name) == nil {
			t.Errorf("the table does not have %s", name)
		}
	}
}

// All settings have the same values in pix and in Nix, with the same warnings.
func TestAgainstNix(t *testing.T) {
	s := startShower(t)
	if err := os.WriteFile(s.HostPath("/tmp/included"), []byte("extra-trusted-users = i\nkeep-outputs = yes\ninclude /tmp"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"",
		"trusted-users = a # b\nextra-trusted-users = c\n\nkeep-derivations = 0",
		"extra-trusted-users = a\ntrusted-users = b\ntrusted-users = c = d",
		"trusted-users = a#b\r\nkeep-outputs = 1\r\nextra-keep-outputs = 0\nnonsense = x\nalso = 1",
		"include /tmp/included\nextra-trusted-users = j\n!include /tmp/nowhere\ninclude /tmp",
		"experimental-features = flakes nonsense no-url-literals nix-command\nimpure-env = A=B\nflake-registry = x",
		"impure-env = A=B\nextra-impure-env = A=C D=E\nextra-experimental-features = configurable-impure-env",
		"impure-env = A=B\nauto-allocate-uids = true\nimpure-env = x",
		"warn-short-path-literals = true",
		"warn-short-path-literals = no",
		"sandbox-paths = /a=/b? /c /a-b /a/b\nextra-sandbox-paths = /c=/d /z?",
		"store = /tmp/x\nsubstituters = daemon local auto unix:///x?b=2&a=1 https://h?a=%41+b local?root=/a%20b&=3",
		"trusted-substituters = local ssh-ng://me@host daemon https://b/ auto https://b https://a/?x=1 daemon?root=/x",
		"external-builders = [{\"systems\":[\"b\",\"a\"],\"program\":\"/p\",\"args\":[\"x\"]}]",
		"build-users-group =\nuser-agent-suffix = a  b\nsystem-features = z a z\nextra-system-features = b",
		"netrc-file = /a/../b//c/\nssl-cert-file =\nbuild-dir = /x\neval-profile-file = q\nallowed-impure-host-deps = /b /a /b",
	} {
		s.compare(t, text)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		s.compare(t, randomText(r))
	}
}

// The values have the same JSON.
func TestJSONAgainstNix(t *testing.T) {
	s := startShower(t)
	const text = command + "extra-experimental-features = configurable-impure-env\nimpure-env = A=B\nmax-jobs = 3\nsandbox = relaxed\n" +
		"sandbox-paths = /a /b=/c?\nbuild-dir = /x\ntimeout = -1\ntrusted-users = a b\nexternal-builders = [{\"systems\":[\"b\"],\"program\":\"/p\",\"args\":[\"x\"]}]"
	cmd := s.Command(t.Context(), "nix", "config", "show", "--json")
	cmd.Env = append(cmd.Env, "NIX_CONF_DIR=/tmp", "NIX_REMOTE=", "NIX_CONFIG="+text)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]struct{ Value any }
	if err := json.Unmarshal(out, &want); err != nil {
		t.Fatal(err)
	}
	c, err := s.load(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range nixconf.Settings() {
		v := c.Get(setting.Name)
		if slices.Contains(newer, setting.Name) || v.Origin.Source == nixconf.FromDefault && (setting.Nix != "" || slices.Contains([]string{"build-hook", "pure-eval", "ssl-cert-file", "sandbox-paths"}, setting.Name)) {
			continue
		}
		text, err := json.Marshal(setting.Decode(v.Text))
		if err != nil {
			t.Fatal(err)
		}
		var got any
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if features, ok := got.([]any); ok && setting.Type == nixconf.Features { // Nix prints them in another order
			slices.SortFunc(features, func(a, b any) int { return cmp.Compare(a.(string), b.(string)) })
			if nix, ok := want[setting.Name].Value.([]any); ok {
				slices.SortFunc(nix, func(a, b any) int { return cmp.Compare(a.(string), b.(string)) })
			}
		}
		if nix := want[setting.Name].Value; !reflect.DeepEqual(got, nix) && !(nix == nil && got == "") {
			t.Errorf("%s: in pix %s, in Nix %v", setting.Name, text, nix)
		}
	}
}

// Nix rejects the same texts with the same errors.
func TestMistakesAgainstNix(t *testing.T) {
	s := startShower(t)
	for text := range wrongLines {
		if values, _ := s.show(t, command+text); values != nil {
			t.Errorf("Nix accepts %q", text)
		}
	}
	wrong := map[nixconf.Type][]string{
		nixconf.Bool: {"", "True", "on", "2", "true false"}, nixconf.Uint32: {"", "-1", "1P", "1.5", "0x1", "x", "5000000000", "K", "1 K"},
		nixconf.Uint64: {"", "-1", "18446744073709551616"}, nixconf.Int64: {"", "--1", "9223372036854775808"}, nixconf.Jobs: {"", "-1", "1K", "Auto"},
		nixconf.Path: {""}, nixconf.FileName: {""}, nixconf.SandboxMode: {"", "yes", "1"}, nixconf.Lint: {"", "true"},
		nixconf.Profiler: {"", "x"}, nixconf.StoreURI: {"x"}, nixconf.StoreURIs: {"a b"}, nixconf.StoreURISet: {"file:///a x"},
	}
	seen := make(map[nixconf.Type]bool)
	for _, setting := range nixconf.Settings() {
		if seen[setting.Type] || slices.Contains(newer, setting.Name) || setting.Feature != "" {
			continue
		}
		seen[setting.Type] = true
		for _, value := range wrong[setting.Type] {
			s.compare(t, setting.Name+" = "+value)
		}
	}
}

// randomText returns a valid configuration of 20 lines.
func randomText(r *rand.Rand) string {
	all := nixconf.Settings()
	var b strings.Builder
	b.WriteString("extra-experimental-features = flakes configurable-impure-env auto-allocate-uids\n")
	pick := func(choices ...string) string { return choices[r.IntN(len(choices))] }
	for range 20 {
		s := all[r.IntN(len(all))]
		if slices.Contains(newer, s.Name) || s.Type == nixconf.Features || s.Name == "plugin-files" {
			continue
		}
		name := pick(append(s.Aliases, s.Name)...)
		if name == "filetransfer-retry-attempts" {
			continue
		}
		if r.IntN(4) == 0 && s.Nix == "" {
			name = "extra-" + name
		}
		fmt.Fprintf(&b, "%s%s%s=%s%s%s\n", pick("", " ", "\t"), name, pick(" ", "  "), pick(" ", "\t "), randomValue(s.Type, pick), pick("", " # x", "#", "\r"))
	}
	return b.String()
}

func randomValue(t nixconf.Type, pick func(...string) string) string {
	list := func(choices ...string) string {
		return strings.Join([]string{pick(choices...), pick(choices...), pick("", pick(choices...))}, pick(" ", "  ", "\t"))
	}
	switch t {
	case nixconf.Bool:
		return pick("true", "yes", "1", "false", "no", "0")
	case nixconf.Uint32, nixconf.Uint64:
		return pick("0", "1", "007", "+5", "3K", "2m", "3G")
	case nixconf.Int64:
		return pick("0", "1", "-1", "+5", "3K", "-2m", "5G", "1T")
	case nixconf.Jobs:
		return pick("0", "1", "07", "+5")
	case nixconf.Path, nixconf.OptionalPath:
		return pick("/", "/a", "/a/../b/./c//d/")
	case nixconf.FileName:
		return pick("a", "/a/../b")
	case nixconf.Map:
		return list("a=1", "a=2", "b=", "b=x=y", "c", "=d")
	case nixconf.SandboxMode:
		return pick("true", "relaxed", "false")
	case nixconf.SandboxPaths:
		return list("/a", "/a?", "/a=/b", "/b=/c?", "/a/b", "/a-c")
	case nixconf.Lint:
		return pick("ignore", "warn", "fatal")
	case nixconf.Profiler:
		return pick("disabled", "flamegraph")
	case nixconf.StoreURI:
		return pick("", "auto", "daemon", "local", "/a/b", "unix:///s", "ssh-ng://h", "local?root=/x")
	case nixconf.StoreURIs, nixconf.StoreURISet:
		return list("https://a", "https://a/", "file:///x?priority=3&a=b", "daemon", "/a", "http://u:p@h:1/x")
	case nixconf.ExternalBuilders:
		return "[]"
	}
	return list("x", "y=z", "@w", "a:b", "*")
}
