package daemontest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pix/daemontest"
	"pix/internal/realnix"
	"pix/store/memstore"
)

// relay connects the standard streams of a process with a socket. It replaces nix-daemon
// --stdio, which a client of ssh-ng://localhost runs without ssh. Through ssh-ng a stock client
// requests archives. Through a Unix socket it would read the files.
const relay = `#!/usr/bin/perl
use IO::Socket::UNIX; use IO::Select;
my $s = IO::Socket::UNIX->new(Peer => "/tmp/pix.sock") or die "no socket: $!";
my $w = IO::Select->new($s, \*STDIN);
while (1) {
	for my $r ($w->can_read) {
		my $n = sysread($r, my $b, 65536);
		exit unless $n;
		my $to = $r == $s ? \*STDOUT : $s;
		for (my $at = 0; $at < $n; ) { $at += syswrite($to, $b, $n - $at, $at) // exit }
	}
}
`

// files are the files that stock clients add.
var files = map[string]string{
	"file":        "a file\n",
	"dir/a":       "first\n",
	"dir/sub/b":   "second\n",
	"default.nix": defaultNix,
	"result-link": "",
}

// defaultNix has a text with a reference, a source, a fixed output, and a chain of derivations
// with several outputs. Nothing of it is built.
const defaultNix = `
let
  text = builtins.toFile "text" "a text";
  refers = builtins.toFile "refers" "see ${text}";
  fixed = derivation { name = "fixed"; system = "x"; builder = "/b"; outputHash = "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="; outputHashMode = "flat"; outputHashAlgo = "sha256"; };
  first = derivation { name = "first"; system = "x"; builder = refers; src = ./dir; outputs = [ "out" "dev" ]; inherit fixed; };
in derivation { name = "second"; system = "x"; builder = "/b"; args = [ first first.dev ]; }
`

// A step is a shell command. Words in it are replaced by the output of earlier steps.
type step struct {
	name, command string
	contents      bool   // it reads archives from the store
	since         string // the oldest Nix with this command
	sorted        bool   // the order of its lines does not matter
}

var steps = []step{
	{name: "added", command: "nix-store --add /tmp/w/dir"},
	{name: "again", command: "nix-store --add /tmp/w/dir"},
	{name: "flat", command: "nix-store --add-fixed sha256 /tmp/w/file"},
	{name: "sha1", command: "nix-store --add-fixed sha1 /tmp/w/file"},
	{name: "recursive", command: "nix-store --add-fixed --recursive sha512 /tmp/w/dir"},
	{name: "drv", command: "nix-instantiate /tmp/w/default.nix 2>/dev/null"},
	{name: "refers", command: "nix-store --query --requisites @drv | grep -e -refers$"},
	{name: "drv-again", command: "nix-instantiate /tmp/w/default.nix 2>/dev/null"},
	{name: "valid", command: "nix-store --check-validity @added @flat @drv"},
	{name: "invalid", command: "nix-store --check-validity --print-invalid /nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-absent @added"},
	{name: "hash", command: "nix-store --query --hash @added @flat @drv"},
	{name: "size", command: "nix-store --query --size @added @flat @drv"},
	{name: "references", command: "nix-store --query --references @drv", sorted: true},
	{name: "referrers", command: "nix-store --query --referrers @added", sorted: true},
	{name: "requisites", command: "nix-store --query --requisites @drv", sorted: true},
	{name: "closure", command: "nix-store --query --referrers-closure @added", sorted: true},
	{name: "deriver", command: "nix-store --query --deriver @added"},
	{name: "roots", command: "nix-store --query --roots @added"},
	{name: "info", command: "nix path-info --json @added @refers", since: "2.8"},
	{name: "info-closure", command: "nix path-info --recursive --size --closure-size @refers", sorted: true},
	{name: "missing", command: "nix-store --realise --dry-run @drv 2>&1", sorted: true},
	{name: "outputs", command: "nix-store --query --outputs @drv", contents: true, sorted: true},
	{name: "dump", command: "nix store dump-path @added | sha256sum", since: "2.8", contents: true},
	{name: "ls", command: "nix store ls --recursive @added", since: "2.8", contents: true},
	{name: "cat", command: "nix store cat @added/sub/b", since: "2.8", contents: true},
	{name: "show", command: "nix --extra-experimental-features nix-command show-derivation --recursive @drv || nix derivation show -r @drv", since: "2.8", contents: true},
	{name: "export", command: "nix-store --export $(nix-store --query --requisites @drv) >/tmp/w/exported && sha256sum </tmp/w/exported", contents: true},
	{name: "copy-to", command: "rm -rf /tmp/w/cache && nix copy --no-check-sigs --to file:///tmp/w/cache @refers && cat /tmp/w/cache/*.narinfo | grep -v -e ^URL -e ^File -e ^Compression", contents: true, sorted: true},
	{name: "sign", command: "nix store sign --key-file /tmp/w/key --recursive @refers", since: "2.8"},
	{name: "signed", command: "nix path-info --recursive --sigs @refers", since: "2.8", sorted: true},
	{name: "verify", command: "nix-store --verify 2>/dev/null"},
	{name: "optimise", command: "nix-store --optimise 2>/dev/null"},
	{name: "print-live", command: "nix-store --gc --print-live 2>/dev/null", sorted: true},
	{name: "print-dead", command: "nix-store --gc --print-dead 2>/dev/null", sorted: true},
	{name: "delete-needed", command: "nix-store --delete @added 2>/dev/null", since: "2.8"}, // 2.3 deletes the referrers, too
	{name: "delete", command: "nix-store --delete @flat 2>/dev/null | sed 's/,.*//'"},
	{name: "deleted", command: "nix-store --check-validity @flat 2>/dev/null"},
	{name: "add-root", command: "nix-store --add-root /tmp/w/result --indirect --realise @drv2 2>/dev/null; nix-store --realise --add-root /tmp/w/result --indirect @added"},
	{name: "print-roots", command: "nix-store --gc --print-roots 2>/dev/null | grep /tmp/w"},
	{name: "live", command: "nix-store --gc --print-live 2>/dev/null", sorted: true},
	{name: "collect", command: "nix-store --gc 2>/dev/null >/dev/null"},
	{name: "left", command: "nix-store --gc --print-live 2>/dev/null; nix-store --gc --print-dead 2>/dev/null", sorted: true},
	{name: "import", command: "nix-store --import </tmp/w/exported", sorted: true},
	{name: "imported", command: "nix-store --query --requisites @drv", sorted: true},
	{name: "collect-again", command: "nix-store --gc 2>/dev/null >/dev/null"},
	{name: "copy-from", command: "nix copy --no-check-sigs --from file:///tmp/w/cache @refers && nix-store --query --requisites @refers && nix-store --query --hash @refers", sorted: true},
	{name: "absent", command: "nix-store --query --hash /nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-absent 2>&1"},
}

// untrusted are steps of an untrusted client and of a refused one.
var untrusted = []step{
	{name: "added", command: "nix-store --add /tmp/w/dir"},
	{name: "drv", command: "nix-instantiate /tmp/w/default.nix 2>/dev/null"},
	{name: "repair", command: "nix-store --realise --repair @added 2>&1"},
	{name: "verify", command: "nix-store --verify --repair 2>&1 | grep error"},
	{name: "restricted", command: "nix-store --option sandbox true --query --hash @added 2>&1", since: "2.26"}, // 2.8 does not print it at the default verbosity
	{name: "substituters", command: "nix-store --option substituters https://cache.example.org/ --query --hash @added 2>&1", since: "2.26"},
	{name: "free", command: "nix-store --option max-silent-time 5 --timeout 7 --query --hash @added 2>&1"},
	{name: "roots", command: "nix-store --gc --print-roots 2>/dev/null"},
	{name: "requisites", command: "nix-store --query --requisites @drv", sorted: true},
}

// Stock clients get the same from us as from their own daemon.
func TestStockClients(t *testing.T) { compareClients(t, steps, false) }

// Untrusted stock clients do, too.
func TestUntrustedStockClients(t *testing.T) { compareClients(t, untrusted, true) }

func compareClients(t *testing.T, steps []step, untrusted bool) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, &realnix.Options{Untrusted: untrusted})
		ours := daemontest.New(t, &daemontest.Options{Untrusted: untrusted, Store: memstore.New(&memstore.Options{
			ReadLink: func(link string) (string, error) { return os.Readlink(d.HostPath(link)) },
		})})
		ours.ListenOn(d.HostPath("/tmp/pix.sock"))
		theirs := &side{t: t, d: d, remote: "daemon", contents: "daemon"}
		mine := &side{t: t, d: d, remote: "unix:///tmp/pix.sock", contents: "ssh-ng://localhost"}
		want := theirs.run(steps)
		got := mine.run(steps)
		compared := 0
		for _, step := range steps {
			if olderThan(s.Version, step.since) {
				continue
			}
			compared++
			if got[step.name] != want[step.name] {
				t.Errorf("%s (%s) from us:\n%s\nby Nix %s:\n%s", step.name, step.command, got[step.name], s.Version, want[step.name])
			}
		}
		t.Logf("Nix %s: %d steps compared", s.Version, compared)
	})
}

// olderThan compares versions such as 2.8.0 and 2.26.
func olderThan(version, since string) bool {
	var a, b [2]int
	fmt.Sscanf(version, "%d.%d", &a[0], &a[1])
	fmt.Sscanf(since, "%d.%d", &b[0], &b[1])
	return a[0] < b[0] || a[0] == b[0] && a[1] < b[1]
}

// A side is a client with one of the two daemons.
type side struct {
	t                testing.TB
	d                *realnix.Daemon
	remote, contents string // NIX_REMOTE, and NIX_REMOTE for steps that read archives
}

// aboutRoots matches the commands that follow a pause: Nix's daemon has a process for each
// client, which may still exist with its temporary roots after the client has exited.
var aboutRoots = regexp.MustCompile(`--gc|--delete|--roots`)

// run runs all steps and returns the output and the exit code of each.
func (s *side) run(steps []step) map[string]string {
	s.prepare()
	said := make(map[string]string)
	first := make(map[string]string)
	for _, step := range steps {
		if olderThan(s.d.Version, step.since) {
			continue
		}
		command := word.ReplaceAllStringFunc(step.command, func(w string) string {
			if p := first[w[1:]]; p != "" {
				return p
			}
			return w
		})
		if aboutRoots.MatchString(command) {
			time.Sleep(300 * time.Millisecond)
		}
		out, code := s.sh(step, command)
		if step.sorted {
			lines := strings.Split(strings.TrimSpace(out), "\n")
			out = strings.Join(sortedLines(lines), "\n")
		}
		said[step.name] = fmt.Sprintf("%s\nexit code %d", normal(out), code)
		first[step.name], _, _ = strings.Cut(out, "\n")
	}
	return said
}

var (
	word = regexp.MustCompile(`@[a-z0-9-]+`)
	// Times and colours differ.
	noise = regexp.MustCompile(`"registrationTime":[0-9]+|\x1b\[[0-9;]*m`)
)

func normal(out string) string { return noise.ReplaceAllString(out, "") }

func (s *side) sh(step step, command string) (string, int) {
	cmd := s.d.Command(context.Background(), "sh", "-c", command)
	remote := s.remote
	if step.contents {
		remote = s.contents
	}
	cmd.Env = append(cmd.Env, "NIX_REMOTE="+remote, "PATH=/tmp/bin:/usr/sbin:/usr/bin")
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	if err != nil {
		s.t.Logf("%s: %s: %v\n%s", s.remote, command, err, errs.String())
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// prepare recreates the files.
func (s *side) prepare() {
	dir := s.d.HostPath("/tmp/w")
	if err := os.RemoveAll(dir); err != nil {
		s.t.Fatal(err)
	}
	for name, text := range files {
		if text != "" {
			s.write(filepath.Join(dir, name), text, 0o644)
		}
	}
	s.write(filepath.Join(dir, "key"), signingKey, 0o600)
	s.write(s.d.HostPath("/tmp/bin/nix-daemon"), relay, 0o755)
}

func (s *side) write(path, text string, mode os.FileMode) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		s.t.Fatal(err)
	}
}

// A stock nix copies many objects from its own daemon to ours and back, in one stream.
func TestStockCopy(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		ours := daemontest.New(t, nil)
		ours.ListenOn(d.HostPath("/tmp/pix.sock"))
		const theirs = "unix:///nix/var/nix/daemon-socket/socket"
		sides := []*side{
			{t: t, d: d, remote: theirs, contents: theirs},
			{t: t, d: d, remote: "unix:///tmp/pix.sock", contents: "ssh-ng://localhost"},
		}
		sides[0].prepare()
		for i, from := range sides {
			to := sides[1-i]
			file := fmt.Sprintf("/tmp/w/%d.nix", i)
			text := strings.ReplaceAll(defaultNix, "a text", fmt.Sprint("a text for ", i))
			from.write(d.HostPath(file), text, 0o644)
			drv := from.must("nix-instantiate " + file)
			refers := from.must("nix-store --query --requisites " + drv + " | grep -e -refers$")
			from.must(fmt.Sprintf("nix copy --no-check-sigs --from '%s' --to '%s' %s", from.contents, to.remote, refers))
			for _, question := range []string{"--requisites", "--hash", "--size"} {
				if a, b := from.must("nix-store --query "+question+" "+refers), to.must("nix-store --query "+question+" "+refers); a != b {
					t.Errorf("%s before %q, after %q", question, a, b)
				}
			}
		}
	})
}

// must runs a command that must succeed.
func (s *side) must(command string) string {
	s.t.Helper()
	out, code := s.sh(step{}, command)
	if code != 0 {
		s.t.Fatalf("%s failed", command)
	}
	return strings.TrimSpace(out)
}
